"""Start, reload, drain, and who owns what."""

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import gateway as clearway
from processes import accepts, wait_until
from rawhttp import Connection, Request, send

SERVER = "uvicorn-httptools"


def status(url: str, headers=None) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def config(url: str, path: str = "/*") -> str:
    return f"services:\n  - name: shop\n    to: {url}\n    routes: [{{ paths: ['{path}'] }}]\n"


def rewrite(path, text: str):
    """As editors and configuration managers do it: whole, by renaming."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def test_it_says_what_it_serves_and_where(start_gateway, server):
    gateway = start_gateway("--to", server(SERVER).url)
    for what in (f"listening on {gateway.url}", f"management on {gateway.management}", server(SERVER).url):
        assert gateway.has_said(what), what


#: The text format of Prometheus; what every process has is named as everywhere.
METRICS_LINE = r"# (HELP|TYPE) (clearway|process)_\w+ .+|(clearway|process)_\w+(\{.*\})? [-+.\deInfNa]+"


def test_health_readiness_and_metrics(start_gateway, server):
    gateway = start_gateway("--to", server(SERVER).url)
    assert status(f"{gateway.management}/healthz") == 200
    assert status(f"{gateway.management}/readyz") == 200
    assert send(gateway.port, Request()).status == 200
    metrics = wait_until(lambda: scrape(gateway), "the exchange in /metrics")
    for line in metrics.splitlines():
        assert re.fullmatch(METRICS_LINE, line), line


def scrape(gateway) -> str | None:
    with urllib.request.urlopen(f"{gateway.management}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return text if re.search(r'^clearway_requests_total\{[^}]*status="200"[^}]*\} 1$', text, re.M) else None


def test_management_refuses_strange_hosts_and_strangers(start_gateway, server):
    gateway = start_gateway("--to", server(SERVER).url)
    for path in ("/healthz", "/readyz", "/metrics"):
        assert status(f"{gateway.management}{path}", {"Host": "clearway.monitoring.svc:8081"}) == 200
    assert status(f"{gateway.management}/api/v1/routes", {"Host": "attacker.test"}) == 421
    assert status(f"{gateway.management}/api/v1/routes") == 401
    assert status(f"{gateway.management}/nothing") in (401, 404)


def test_term_finishes_what_is_in_flight(start_server, start_gateway, token):
    server = start_server(SERVER)
    gateway = start_gateway("--to", server.url)
    port = gateway.port
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send, port, Request("POST", f"/_/held?token={token}", body=b"x"))
        server.wait_until_held(token)
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: not accepts(port), "the listener to be closed")
        assert status(f"{gateway.management}/readyz") == 503
        assert status(f"{gateway.management}/healthz") == 200
        server.release(token)
        response = answer.result(15)
    assert (response.status, response.body) == (200, b'{"held": true}')
    assert response.names["connection"] == "close"
    assert gateway.wait() == 0


def test_term_gives_up_after_the_grace_time(start_server, start_gateway, token):
    server = start_server(SERVER)
    gateway = start_gateway(config="grace: 300ms\n" + config(server.url))
    with Connection(gateway.port) as connection:
        connection.send(Request("POST", f"/_/held?token={token}", body=b"x"))
        server.wait_until_held(token)
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0
        server.release(token)


def test_hup_takes_a_good_file_and_refuses_a_bad_one(start_gateway, server, tmp_path):
    path = tmp_path / "clearway.yaml"
    path.write_text(config(server(SERVER).url, "/one"))
    gateway = start_gateway(path)
    assert [send(gateway.port, Request(target=target)).status for target in ("/one", "/two")] == [200, 404]

    rewrite(path, "servces:\n  - name: shop\n" + config(server(SERVER).url, "nonsense"))
    gateway.signal(signal.SIGHUP)
    gateway.wait_for_output("servces")
    assert [send(gateway.port, Request(target=target)).status for target in ("/one", "/two")] == [200, 404]

    rewrite(path, config(server(SERVER).url, "/two"))
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: send(gateway.port, Request(target="/two")).status == 200, "the new route")
    assert send(gateway.port, Request(target="/one")).status == 404


def test_a_changed_file_is_noticed(start_gateway, server, tmp_path):
    path = tmp_path / "clearway.yaml"
    path.write_text(config(server(SERVER).url, "/one"))
    gateway = start_gateway(path)
    rewrite(path, config(server(SERVER).url, "/two"))
    wait_until(lambda: send(gateway.port, Request(target="/two")).status == 200, "the new route")


def test_a_reload_loses_no_request(start_gateway, server, tmp_path):
    path = tmp_path / "clearway.yaml"
    path.write_text(config(server(SERVER).url))
    gateway = start_gateway(path)

    def client(number: int) -> list[int]:
        with Connection(gateway.port) as connection:
            answers = []
            for n in range(200):
                connection.send(Request("POST", f"/{number}/{n}", body=b"x"))
                answers.append(connection.receive().status)
            return answers

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client, number) for number in range(8)]
        for n in range(5):
            rewrite(path, f"# version {n}\n" + config(server(SERVER).url))
            gateway.signal(signal.SIGHUP)
        assert [one.result(30) for one in clients] == [[200] * 200] * 8


def test_a_data_directory_has_one_owner(start_gateway, server):
    gateway = start_gateway("--to", server(SERVER).url)
    second = clearway.command(
        "up", "--to", server(SERVER).url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", gateway.data
    )
    assert second.returncode == 1
    assert str(gateway.data) in second.stderr
    assert send(gateway.port, Request()).status == 200


@pytest.mark.parametrize("flag", ["--listen", "--admin"])
def test_an_address_in_use_is_one_clear_message(server, tmp_path, flag):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        flags = {"--listen": "127.0.0.1:0", "--admin": "127.0.0.1:0"} | {flag: address}
        words = [word for pair in flags.items() for word in pair]
        result = clearway.command("up", "--to", server(SERVER).url, *words, "--data", tmp_path / "data")
    assert result.returncode == 1
    assert address in result.stderr
    assert "panicked" not in result.stderr


def test_the_data_directory_is_private(start_gateway, server):
    gateway = start_gateway("--to", server(SERVER).url)
    for folder, _, names in os.walk(gateway.data):
        for name in names:
            mode = os.lstat(os.path.join(folder, name)).st_mode
            assert stat.S_IMODE(mode) & 0o077 == 0, f"{name} {mode:o}"
    assert stat.S_IMODE(os.stat(gateway.data).st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_the_control_socket_answers_only_its_owner_and_root(start_gateway, server):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        data = Path(folder) / "data"
        gateway = start_gateway("--to", server(SERVER).url, data=data)
        words = [clearway.binary(), "routes", "--data", data]
        nobody = {"user": 65534, "group": 65534, "extra_groups": [], "capture_output": True, "text": True}
        # The file modes are the first wall ...
        assert subprocess.run(words, **nobody).returncode == 1
        # ... and the socket asks who is calling even where they were opened.
        os.chmod(data, 0o755)
        os.chmod(data / "control.sock", 0o666)
        refused = subprocess.run(words, **nobody)
        assert refused.returncode == 1
        assert "only the user that runs clearway, and root, may ask" in refused.stderr
        assert gateway.ask("routes").returncode == 0


def test_records_outlive_a_kill(start_gateway, server, tmp_path):
    gateway = start_gateway("--to", server(SERVER).url, data=tmp_path / "data")
    assert send(gateway.port, Request(target="/kept")).status == 200
    recorded = gateway.call("--path", "/kept")
    # What a running process has in memory is on disk at most a second later.
    wait_until(lambda: recorded["id"] in calls_on_disk(gateway, tmp_path), "the record on disk")


def calls_on_disk(gateway, tmp_path) -> str:
    """What a reader would find if the process were killed now: a copy of the data directory without its process."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(gateway.data, copy, ignore=lambda _, names: [name for name in names if name.endswith(".sock")])
    result = clearway.command("calls", "--format", "json", "--data", copy)
    return result.stdout if result.returncode == 0 else ""


def test_check_prints_every_problem_with_its_place(tmp_path):
    path = tmp_path / "clearway.yaml"
    path.write_text("services:\n  - name: shop\n    too: http://127.0.0.1:8000\n  - name: shop\n    to: ftp://x\n")
    result = clearway.command("check", path)
    assert result.returncode == 1
    text = result.stdout + result.stderr
    for part in (f"{path}:3", "did you mean", "to", f"{path}:5", "ftp"):
        assert part in text, part


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(shell):
    result = clearway.command("completions", shell)
    assert result.returncode == 0
    assert "upstreams" in result.stdout
