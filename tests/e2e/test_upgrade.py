"""A new process takes the place of the running one: nothing is lost, and where it fails, nothing has changed."""

import http.client
import http.server
import itertools
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from hyperframe.frame import GoAwayFrame, HeadersFrame, RstStreamFrame

import gateway as clearway
import http2
from processes import Process, free_port, wait_until
from rawhttp import Connection, Request, send
from servers import APPS, VENV

SERVER = "uvicorn-httptools"


def upgrade(gateway, *flags) -> subprocess.CompletedProcess:
    return clearway.command("upgrade", "--data", gateway.data, *flags, timeout=60)


def upgraded(gateway) -> tuple[int, int]:
    """An upgrade that works: the process ids before and after."""
    result = upgrade(gateway)
    assert result.returncode == 0, result.stderr
    old, new = re.match(r"upgraded: pid (\d+) -> (\d+), ", result.stdout).groups()
    return int(old), int(new)


def plain_port(gateway) -> int:
    return int(re.search(r"listening on http://[^\s:]*:(\d+)", gateway.output()).group(1))


def owner(gateway) -> int:
    """The process that owns the data directory."""
    return int((gateway.data / "lock").read_text() or 0)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def gunicorn(tmp_path):
    """A Gunicorn with threads that writes down what it executes."""
    port, executed = free_port(), tmp_path / "executed"
    words = [VENV / "bin" / "gunicorn", "--worker-class", "gthread", "--threads", "8", "executed:wsgi"]
    words += ["--workers", "2", "--no-control-socket", "--log-level", "warning", "--bind", f"127.0.0.1:{port}"]
    environment = {"EXECUTED": str(executed), "PYTHONPATH": str(APPS)}
    with Process(words, log=tmp_path / "gunicorn.log", cwd=APPS, env=environment) as process:
        process.wait_for_port(port)
        process.url, process.executed = f"http://127.0.0.1:{port}", executed
        yield process


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for `localhost` that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", *files]
    subprocess.run(words, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


class Load:
    """Clients of four kinds that go on asking, GET and POST in turn: on a connection as long as it lasts, on one for each
    request, under TLS, and over HTTP/2."""

    def __init__(self, port: int, tls_port: int, authority):
        self.port, self.tls_port = port, tls_port
        self.context = ssl.create_default_context(cafile=authority)
        self.answers: list[tuple[str, int]] = []
        self.errors: list[BaseException] = []
        self._numbers = itertools.count()
        self._over = threading.Event()
        kinds = [self._kept, self._kept, self._fresh, self._fresh, self._tls, self._http2]
        self._threads = [threading.Thread(target=self._run, args=(kind,)) for kind in kinds]

    def _run(self, ask_on):
        try:
            while not self._over.is_set():
                ask_on()
        except BaseException as error:  # Any failure counts, whichever library had it.
            self.errors.append(error)

    def _next(self):
        number = next(self._numbers)
        method = "GET" if number % 2 else "POST"
        return f"{method}-{number}", method, b"" if method == "GET" else b"x"

    def _kept(self):
        """Until the gateway says that this was the last one."""
        with Connection(self.port, 30) as connection:
            while not self._over.is_set():
                if self._ask(connection).names.get("connection") == "close":
                    return

    def _fresh(self):
        with Connection(self.port, 30) as connection:
            self._ask(connection)

    def _ask(self, connection):
        name, method, body = self._next()
        connection.send(Request(method, "/", headers=(("X-Test-Id", name),), body=body))
        answer = connection.receive(method)
        self.answers.append((name, answer.status))
        return answer

    def _tls(self):
        client = http.client.HTTPSConnection("localhost", self.tls_port, timeout=30, context=self.context)
        name, method, body = self._next()
        client.request(method, "/", body=body or None, headers={"X-Test-Id": name})
        answer = client.getresponse()
        answer.read()
        self.answers.append((name, answer.status))
        client.close()

    def _http2(self):
        """One request after the other, until the gateway says that it takes no more on this connection."""
        connection = http2.Connection(self.port, timeout=30)
        frames = connection.frames()
        for stream in itertools.count(1, 2):
            name, method, _ = self._next()
            fields = http2.GET if method == "GET" else http2.POST
            connection.send(connection.headers(stream, (*fields, ("x-test-id", name))))
            status, is_over, is_last = 0, False, self._over.is_set()
            while not is_over:
                frame = next(frames)
                if isinstance(frame, GoAwayFrame):
                    is_last = True
                    # What it did not take may be asked again elsewhere.
                    is_over = frame.last_stream_id < stream
                elif frame.stream_id == stream:
                    if isinstance(frame, HeadersFrame):
                        status = int(dict(connection.decoder.decode(frame.data))[":status"])
                    assert not isinstance(frame, RstStreamFrame), frame
                    is_over = "END_STREAM" in frame.flags
            if status:
                self.answers.append((name, status))
            if is_last:
                connection.socket.close()
                return

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def more(self, count: int = 60):
        """Waits for so many more answers."""
        before = len(self.answers)
        wait_until(lambda: self.errors or len(self.answers) >= before + count, f"{count} more answers", 30)

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(30)


def test_upgrades_under_load_lose_nothing_and_repeat_nothing(start_gateway, gunicorn, certificate, tmp_path):
    cert, key = certificate
    log, tls_port = tmp_path / "access.log", free_port()
    gateway = start_gateway(
        config="listeners:\n"
        '  - { address: "127.0.0.1:0" }\n'
        f'  - {{ address: "127.0.0.1:{tls_port}", tls: {{ certificates: [{{ certificate: {cert}, key: {key} }}] }} }}\n'
        f"services: [{{ name: shop, to: '{gunicorn.url}' }}]\n"
        f"log: {{ format: json, file: {log} }}\nworkers: 2\n",
        listen=(),
    )
    with Load(plain_port(gateway), tls_port, cert) as load:
        pids = [gateway.pid]
        for _ in range(5):
            old, new = upgraded(gateway)
            assert old == pids[-1]
            pids.append(new)
            load.more()
    assert load.errors == []
    assert [answer for answer in load.answers if answer[1] != 200] == []
    assert gateway.wait() == 0
    assert len(set(pids)) == 6
    # Each was executed exactly once.
    sent = {name for name, _ in load.answers}
    assert Counter(gunicorn.executed.read_text().split()) == Counter(sent)
    # And is in the log and in the records exactly once, by whichever process.
    wait_until(lambda: all(is_gone(pid) for pid in pids[:-1]), "the old processes to end")
    calls = gateway.calls("--limit", "10000")
    ids = Counter(call["id"] for call in calls)
    assert (len(ids), set(ids.values())) == (len(sent), {1})
    lines = wait_until(lambda: (text := log.read_text().splitlines()) and len(text) >= len(sent) and text, "log lines")
    assert Counter(json.loads(line)["id"] for line in lines) == ids



def test_a_request_that_outlives_two_upgrades_is_answered_and_recorded(start_server, start_gateway, token):
    server = start_server(SERVER)
    gateway = start_gateway("--to", server.url)
    assert send(gateway.port, Request(target="/before")).status == 200
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send, gateway.port, Request("POST", f"/_/held?token={token}", body=b"x"))
        server.wait_until_held(token)
        result = upgrade(gateway)
        assert result.stdout.endswith("1 request is finishing in the old process\n"), result.stdout
        second, third = upgraded(gateway)
        assert send(gateway.port, Request(target="/after")).status == 200
        server.release(token)
        response = answer.result(15)
    assert (response.status, response.names["connection"]) == (200, "close")
    assert gateway.wait() == 0
    wait_until(lambda: is_gone(second), "the second process to end")
    # From the first process through the second to the third.
    assert gateway.call("--path", "/_/held")["id"] == response.names["x-request-id"]
    for path in ("/before", "/after"):
        assert gateway.call("--path", path)["status"] == 200
    assert owner(gateway) == third
    assert management(gateway, "/readyz") == 200


def management(gateway, path: str) -> int:
    connection = http.client.HTTPConnection(gateway.management.removeprefix("http://"), timeout=10)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_what_was_learned_is_known_to_the_new_process(start_gateway):
    class Announces(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Keep-Alive", "timeout=7")
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Announces)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    dead = free_port()
    gateway = start_gateway(
        config=f"upstreams:\n  - {{ name: app, targets: ['http://127.0.0.1:{server.server_port}', 'http://127.0.0.1:{dead}'] }}\n"
        "services: [{ name: shop, upstream: app }]\n"
    )

    def targets() -> list[dict]:
        return gateway.upstreams()[0]["targets"]

    def is_learned() -> bool:
        send(gateway.port, Request())
        good, bad = targets()
        return "idle_limit_ms" in good and "latency_us" in good and bad["condition"] == "unreachable"

    wait_until(is_learned, "the targets to be known")
    upgraded(gateway)
    good, bad = targets()
    assert (good["idle_limit_ms"], good["attempts"], "latency_us" in good) == (7000, 0, True)
    assert bad["condition"] == "unreachable"
    # And is watched by the new process.
    with socket.create_server(("127.0.0.1", dead)):
        wait_until(lambda: targets()[1]["condition"] == "up", "the dead target to be back")
    server.shutdown()


def test_the_file_of_a_unix_socket_stays_and_goes_with_the_last(start_gateway, server, tmp_path):
    path = tmp_path / "gateway.sock"
    gateway = start_gateway("--to", server(SERVER).url, listen=(f"unix:{path}",))

    def asked() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(Request().encode())
            return client.recv(12)

    _, new = upgraded(gateway)
    assert gateway.wait() == 0
    assert asked() == b"HTTP/1.1 200"
    assert (gateway.data / "control.sock").exists()
    os.kill(new, signal.SIGTERM)
    wait_until(lambda: is_gone(new), "the new process to end")
    assert not path.exists()
    assert not (gateway.data / "control.sock").exists()


def test_the_new_process_has_the_workers_and_listeners_of_its_configuration(start_gateway, server, tmp_path):
    path, first, second, third = tmp_path / "clearway.yaml", free_port(), free_port(), free_port()

    def write(workers: int, *ports: int):
        listeners = ", ".join(f"{{ address: '127.0.0.1:{port}' }}" for port in ports)
        path.write_text(f"services: [{{ name: shop, to: '{server(SERVER).url}' }}]\n")
        with path.open("a") as file:
            file.write(f"workers: {workers}\nlisteners: [{listeners}]\n")

    write(3, first, second)
    gateway = start_gateway(path, listen=())
    for workers, ports in ((1, (first, second)), (4, (first, third)), (2, (first, second))):
        write(workers, *ports)
        upgraded(gateway)
        names = [thread.name() for thread in workers_of(owner(gateway))]
        assert len(names) == workers
        # Enough to find a socket that nobody accepts from.
        for _ in range(40):
            for port in ports:
                assert send(port, Request()).status == 200
    with pytest.raises(OSError):
        send(third, Request())


class Thread:
    def __init__(self, pid: int, number: int):
        self.path = f"/proc/{pid}/task/{number}/comm"

    def name(self) -> str:
        with open(self.path) as file:
            return file.read().strip()


def workers_of(pid: int) -> list[Thread]:
    threads = [Thread(pid, thread.id) for thread in psutil.Process(pid).threads()]
    return [thread for thread in threads if thread.name().startswith("worker-")]


def test_a_listener_that_is_gone_answers_who_was_connected(start_gateway, server, tmp_path):
    path, kept, removed = tmp_path / "clearway.yaml", free_port(), free_port()
    config = f"services: [{{ name: shop, to: '{server(SERVER).url}' }}]\n"
    listeners = "listeners: [{{ address: '127.0.0.1:{}' }}, {{ address: '127.0.0.1:{}' }}]\n"
    path.write_text(config + listeners.format(kept, removed))
    gateway = start_gateway(path, listen=())
    with Connection(removed) as connection:
        path.write_text(config + listeners.format(kept, free_port()))
        upgraded(gateway)
        connection.send(Request())
        assert connection.receive().status == 200


class Replaceable:
    """The binary at a path of its own, which can be replaced as a package manager does it."""

    def __init__(self, folder, start_gateway, monkeypatch):
        self.path = folder / "clearway"
        self._real = folder / "clearway-real"
        self._start, self._monkeypatch = start_gateway, monkeypatch
        shutil.copy(clearway.binary(), self._real)
        os.link(self._real, self.path)

    def start(self, *words, **options):
        with self._monkeypatch.context() as patch:
            patch.setenv("CLEARWAY_BIN", str(self.path))
            return self._start(*words, **options)

    def replace(self, script: str):
        self.path.unlink()
        self.path.write_text(f"#!/bin/sh\nREAL={self._real}\n{script}\n")
        self.path.chmod(0o755)

    def restore(self):
        self.path.unlink()
        os.link(self._real, self.path)

    #: Waits until it may go on as the real program.
    WAITS = 'echo $$ > "$0.pid"; while [ ! -e "$0.go" ]; do sleep 0.02; done; exec "$REAL" "$@"'

    def waiting_pid(self) -> int:
        path = self.path.with_suffix(".pid")
        return int(wait_until(lambda: path.exists() and path.read_text().strip(), "the new process to wait"))

    def go(self):
        self.path.with_suffix(".go").touch()


@pytest.fixture
def replaceable(tmp_path, start_gateway, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    return Replaceable(folder, start_gateway, monkeypatch)


def failed_upgrades(gateway) -> int:
    connection = http.client.HTTPConnection(gateway.management.removeprefix("http://"), timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return int(re.search(r"^clearway_upgrades_failed_total (\d+)$", text, re.M).group(1))


@pytest.mark.parametrize(
    ("script", "parts"),
    [
        ("echo no such library >&2; exit 3", ["ended with exit status: 3", "no such library"]),
        ("kill -SEGV $$", ["ended with signal: 11"]),
        ("exec sleep 1000", ["did not get ready within 400ms and was ended"]),
        ("echo what is this; exec 1>&- 2>&-; exec sleep 1000", ["did not get ready within 400ms"]),
        ('exec "$REAL" --version', ["ended with exit status: 0"]),
    ],
)
def test_a_new_program_that_does_not_get_there_changes_nothing(server, replaceable, script, parts):
    gateway = replaceable.start("--to", server(SERVER).url)
    replaceable.replace(script)
    result = upgrade(gateway, "--timeout", "400ms" if "sleep" in script else "30s")
    assert result.returncode == 1
    for part in parts:
        assert part in result.stderr
        gateway.wait_for_output(part)
    assert (owner(gateway), failed_upgrades(gateway)) == (gateway.pid, 1)
    assert send(gateway.port, Request()).status == 200
    assert gateway.call()["status"] == 200
    replaceable.restore()
    upgraded(gateway)
    assert send(gateway.port, Request()).status == 200


def test_a_program_that_is_gone_and_a_configuration_with_problems_are_told(server, replaceable, tmp_path):
    path = tmp_path / "clearway.yaml"
    good = f"services: [{{ name: shop, to: '{server(SERVER).url}' }}]\n"
    path.write_text(good)
    gateway = replaceable.start(path)
    path.write_text(good + "nonsense: 1\n")
    result = upgrade(gateway)
    assert result.returncode == 1
    assert f"{path}:2" in result.stderr and "nonsense" in result.stderr
    path.write_text(good)
    replaceable.path.unlink()
    gateway.signal(signal.SIGUSR2)
    gateway.wait_for_output(f"the upgrade failed, this process stays: failed to start {replaceable.path}: No such file")
    replaceable.path.touch()
    replaceable.restore()
    assert send(gateway.port, Request()).status == 200
    upgraded(gateway)


def test_a_data_directory_is_kept(start_gateway, server, tmp_path):
    path = tmp_path / "clearway.yaml"
    good = f"services: [{{ name: shop, to: '{server(SERVER).url}' }}]\nadmin: 127.0.0.1:0\n"
    path.write_text(f"{good}data: {tmp_path}/one\n")
    words = [clearway.binary(), "up", path, "--listen", "127.0.0.1:0"]
    with Process(words, log=tmp_path / "clearway.log") as process:
        process.wait_for_output("management on")
        path.write_text(f"{good}data: {tmp_path}/two\n")
        result = clearway.command("upgrade", "--data", tmp_path / "one")
        assert result.returncode == 1
        assert "the process before uses another one" in result.stderr


def test_a_second_upgrade_is_refused_and_a_reload_waits(server, replaceable, tmp_path):
    log = tmp_path / "access.log"
    gateway = replaceable.start(config=f"log: {{ file: {log} }}\nservices: [{{ name: shop, to: '{server(SERVER).url}' }}]\n")
    replaceable.replace(replaceable.WAITS)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(upgrade, gateway)
        replaceable.waiting_pid()
        second = upgrade(gateway)
        assert (second.returncode, "under way already" in second.stderr) == (1, True)
        gateway.signal(signal.SIGUSR2)
        wait_until(lambda: gateway.output().count("an upgrade is under way already") == 2, "the refusal of the signal")
        gateway.signal(signal.SIGHUP)
        log.rename(tmp_path / "rotated.log")
        replaceable.go()
        assert first.result(30).returncode == 0
    # The new process has opened its log after the rotation, or opens it again.
    assert send(gateway.port, Request(target="/rotated")).status == 200
    wait_until(lambda: log.exists() and "/rotated" in log.read_text(), "the line in the new log")


def test_a_signal_to_stop_ends_both(server, replaceable):
    gateway = replaceable.start("--to", server(SERVER).url)
    replaceable.replace(replaceable.WAITS)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(upgrade, gateway)
        new = replaceable.waiting_pid()
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0
        result = asked.result(15)
    assert (result.returncode, "told to stop" in result.stderr) == (1, True)
    assert is_gone(new)


def test_the_new_process_is_killed_before_it_is_ready(server, replaceable):
    gateway = replaceable.start("--to", server(SERVER).url)
    replaceable.replace(replaceable.WAITS)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(upgrade, gateway)
        os.kill(replaceable.waiting_pid(), signal.SIGKILL)
        result = asked.result(15)
    assert (result.returncode, "ended with signal: 9" in result.stderr) == (1, True)
    assert send(gateway.port, Request()).status == 200


def test_the_old_process_is_killed_before_the_new_one_is_ready(server, replaceable):
    gateway = replaceable.start("--to", server(SERVER).url)
    port = gateway.port
    assert send(port, Request(target="/before")).status == 200
    replaceable.replace(replaceable.WAITS)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(upgrade, gateway)
        replaceable.waiting_pid()
        # What it has recorded is on the disk at most a second later.
        wait_until(lambda: gateway.calls("--path", "/before"), "the record")
        wait_until(lambda: any((gateway.data / "records").glob("*.db")), "the record file")
        gateway.signal(signal.SIGKILL)
        assert asked.result(15).returncode == 1
    # Nobody accepts, and nobody is refused: the socket is the new process's already.
    with Connection(port) as connection:
        connection.send(Request(target="/between"))
        replaceable.go()
        assert connection.receive().status == 200
    wait_until(lambda: gateway.calls("--path", "/between"), "the record of the new process")
    wait_until(lambda: gateway.has_said("ended before it had handed over; serving at once"), "the warning")


class LockedDatabase:
    """Another program writes to the database: who wants to write waits."""

    def __init__(self, gateway):
        self.connection = sqlite3.connect(gateway.data / "clearway.db", isolation_level=None)
        self.connection.execute("BEGIN IMMEDIATE")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.rollback()
        self.connection.close()


def test_the_new_process_is_killed_when_it_has_the_store(start_gateway, server):
    gateway = start_gateway("--to", server(SERVER).url)
    with LockedDatabase(gateway), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(upgrade, gateway)
        new = wait_until(lambda: (pid := owner(gateway)) != gateway.pid and pid, "the new process to own the store")
        # Nobody records now.
        assert send(gateway.port, Request(target="/meanwhile")).status == 200
        os.kill(new, signal.SIGKILL)
        result = asked.result(15)
    assert (result.returncode, "ended with signal: 9" in result.stderr) == (1, True)
    assert owner(gateway) == gateway.pid
    assert gateway.call("--path", "/meanwhile")["status"] == 200
    upgraded(gateway)
    assert gateway.call("--path", "/meanwhile")["status"] == 200


def test_the_old_process_is_killed_when_the_new_one_has_the_store(start_gateway, server):
    gateway = start_gateway("--to", server(SERVER).url)
    port = gateway.port
    assert send(port, Request(target="/before")).status == 200
    with LockedDatabase(gateway), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(upgrade, gateway)
        wait_until(lambda: owner(gateway) != gateway.pid, "the new process to own the store")
        gateway.signal(signal.SIGKILL)
        assert asked.result(15).returncode == 1
    assert send(port, Request(target="/after")).status == 200
    for path in ("/before", "/after"):
        assert gateway.call("--path", path)["status"] == 200


def test_a_signal_to_stop_at_the_last_moment_is_for_the_new_process(start_gateway, server):
    gateway = start_gateway("--to", server(SERVER).url)
    with ThreadPoolExecutor(1) as pool:
        with LockedDatabase(gateway):
            asked = pool.submit(upgrade, gateway)
            new = wait_until(lambda: (pid := owner(gateway)) != gateway.pid and pid, "the new process to own the store")
            gateway.signal(signal.SIGTERM)
        assert asked.result(15).returncode == 0
    assert gateway.wait() == 0
    wait_until(lambda: is_gone(new), "the new process to end")
    assert not (gateway.data / "control.sock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a namespace of processes")
def test_in_a_container_that_would_end_with_it_an_upgrade_is_refused(start_gateway, server):
    unshare = ("unshare", "--pid", "--fork", "--kill-child")
    gateway = start_gateway("--to", server(SERVER).url, under=unshare)
    result = upgrade(gateway)
    assert result.returncode == 1
    assert "process 1 of a container" in result.stderr
    assert send(gateway.port, Request()).status == 200


def test_a_new_process_that_dies_while_the_old_one_drains_is_told(start_server, start_gateway, token, tmp_path):
    server = start_server(SERVER)
    log = tmp_path / "access.log"
    gateway = start_gateway(config=f"log: {{ file: {log} }}\nservices: [{{ name: shop, to: '{server.url}' }}]\n")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send, gateway.port, Request("POST", f"/_/held?token={token}", body=b"x"))
        server.wait_until_held(token)
        _, new = upgraded(gateway)
        os.kill(new, signal.SIGKILL)
        gateway.wait_for_output("takes no records any more")
        server.release(token)
        assert answer.result(15).status == 200
    assert gateway.wait() == 0
    assert gateway.has_said("1 exchange was served and may be missing from the records")
    assert answer.result().names["x-request-id"] in log.read_text()


def test_nothing_is_passed_on_that_is_not_meant_to_be(start_gateway, server):
    gateway = start_gateway("--to", server(SERVER).url, env={"LISTEN_PID": "1", "LISTEN_FDS": "1", "KEPT": "yes"})

    def kinds(pid: int) -> Counter:
        """What each descriptor is, without the numbers of sockets and pipes."""
        links = (os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd"))
        return Counter(re.sub(r"\d+", "N", link) for link in links)

    before = kinds(gateway.pid)
    _, new = upgraded(gateway)
    assert gateway.wait() == 0
    environment = psutil.Process(new).environ()
    assert "KEPT" in environment
    assert {"LISTEN_PID", "LISTEN_FDS"}.isdisjoint(environment)
    wait_until(lambda: kinds(new)["socket:[N]"] <= before["socket:[N]"], "the descriptors to be as many as before")
    assert stat.S_ISSOCK(os.stat(gateway.data / "control.sock").st_mode)
