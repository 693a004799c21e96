"""Under systemd: sockets that it has bound, and what it is told. The tests play its part; its own tool passes sockets."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest

import gateway as clearway
from gateway import Gateway
from processes import free_port, wait_until
from rawhttp import Connection, Request, send

SERVER = "uvicorn-httptools"


class NotifySocket:
    """The socket of a service manager, and the messages that came to it."""

    def __init__(self, address: str):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(15)
        self.environment = {"NOTIFY_SOCKET": address}

    def next(self) -> dict[str, str]:
        """The next message, as its variables."""
        text = self.socket.recv(65536).decode()
        return dict(line.split("=", 1) for line in text.splitlines())


@pytest.fixture(params=["path", "abstract"])
def notify(request, tmp_path, token):
    manager = NotifySocket(str(tmp_path / "notify") if request.param == "path" else f"@clearway-{token}")
    yield manager
    manager.socket.close()


def test_the_manager_is_told_of_start_reload_and_stop(start_gateway, server, tmp_path, notify):
    path = tmp_path / "clearway.yaml"
    path.write_text(f"services: [{{ name: shop, to: '{server(SERVER).url}' }}]\n")
    gateway = start_gateway(path, env=notify.environment)
    started = notify.next()
    assert started == {"READY": "1", "STATUS": f"serving on {gateway.url}"}

    gateway.signal(signal.SIGHUP)
    reloading = notify.next()
    assert reloading["RELOADING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) > 0
    assert notify.next() == started

    path.write_text("nonsense: 1\n")
    gateway.signal(signal.SIGHUP)
    assert notify.next()["RELOADING"] == "1"
    refused = notify.next()
    assert refused["READY"] == "1"
    assert "problems" in refused["STATUS"]

    gateway.signal(signal.SIGTERM)
    stopping = notify.next()
    # The file may have been seen to change once more.
    while "STOPPING" not in stopping:
        stopping = notify.next()
    assert stopping["STOPPING"] == "1"
    assert gateway.wait() == 0


#: Passes sockets that it has bound itself as descriptors from 3 on, and turns into the command behind `--`.
PASS_SOCKETS = """
import os, socket, sys
at = sys.argv.index("--")
names, sockets = [], []
for word in sys.argv[1:at]:
    name, address = word.split("=", 1)
    if address.startswith("/"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
    else:
        listener = socket.socket(socket.AF_INET6 if address.startswith("[") else socket.AF_INET)
        host, port = address.rsplit(":", 1)
        listener.bind((host.strip("[]"), int(port)))
    listener.listen()
    names.append(name)
    sockets.append(listener)
high = [os.dup2(listener.fileno(), 100 + n) for n, listener in enumerate(sockets)]
for n, number in enumerate(high):
    os.dup2(number, 3 + n)
    os.set_inheritable(3 + n, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": ":".join(names)}
os.execv(sys.argv[at + 1], sys.argv[at + 1:])
"""


def passing(*sockets: str) -> list[str]:
    return [sys.executable, "-c", PASS_SOCKETS, *sockets, "--"]


def test_sockets_of_the_manager_are_used_for_listeners_and_management(server, tmp_path):
    public, management, path = free_port(), free_port(), tmp_path / "gateway.sock"
    data, log = tmp_path / "data", tmp_path / "clearway.log"
    config = tmp_path / "clearway.yaml"
    config.write_text(
        f"listeners: [{{ address: '0.0.0.0:{public}', name: public }}, {{ address: 'unix:{path}' }}]\n"
        f"services: [{{ name: shop, to: '{server(SERVER).url}' }}]\nadmin: 127.0.0.1:{management}\nworkers: 3\n"
    )
    sockets = passing(f"public=[::]:{public}", f"management=127.0.0.1:{management}", f"local={path}")
    words = [*sockets, clearway.binary(), "up", config, "--data", data]
    with clearway.Process(words, log=log) as process:
        process.wait_for_output("management on http://")
        for _ in range(20):
            assert send(public, Request()).status == 200
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(Request().encode())
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        with Connection(management) as connection:
            connection.send(Request("GET", "/readyz"))
            assert connection.receive().status == 200
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert path.exists(), "the file of a socket unit is systemd's"


@pytest.mark.parametrize(
    ("sockets", "environment", "part"),
    [
        (["web=127.0.0.1:{port}"], {}, 'a socket for 127.0.0.1:{port} ("web"), and no listener has this address'),
        ([], {"LISTEN_FDS": "many"}, 'LISTEN_FDS is "many", and must be a number'),
        ([], {"LISTEN_FDS": "1"}, "failed to use descriptor 3"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, sockets, environment, part):
    port = free_port()
    words = passing(*(passed.format(port=port) for passed in sockets))
    up = [str(clearway.binary()), "up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", str(tmp_path / "data")]
    if environment:
        assignments = " ".join(f"{name}={value}" for name, value in environment.items())
        words = ["sh", "-c", f'{assignments} LISTEN_PID=$$ exec "$@"', "sh"]
    result = subprocess.run([*words, *up], capture_output=True, text=True, timeout=15, stdin=subprocess.DEVNULL)
    assert result.returncode == 1
    assert part.format(port=port) in result.stderr


def test_sockets_for_another_process_are_not_ours(start_gateway, server):
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "5"}
    gateway = start_gateway("--to", server(SERVER).url, env=environment)
    assert send(gateway.port, Request()).status == 200


def test_it_is_started_by_its_first_connection(server, tmp_path):
    """With systemd's own tool, which passes the socket when the first client comes."""
    activate = shutil.which("systemd-socket-activate")
    assert activate, "apt-get install systemd"
    port = free_port()
    words = [activate, "--listen", f"127.0.0.1:{port}", clearway.binary()]
    log = tmp_path / "clearway.log"
    up = ["up", "--to", server(SERVER).url, "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0"]
    with clearway.Process([*words, *up, "--data", tmp_path / "data"], log=log) as process:
        process.wait_for_output("Listening on")
        assert not process.has_said("management on")
        # The client that starts it waits in the queue of the socket.
        assert send(port, Request()).status == 200
        assert send(port, Request()).status == 200
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_an_upgrade_names_the_new_main_process_and_keeps_the_sockets(server, tmp_path):
    public, path, manager = free_port(), tmp_path / "gateway.sock", NotifySocket(str(tmp_path / "notify"))
    data, config = tmp_path / "data", tmp_path / "clearway.yaml"
    config.write_text(
        f"listeners: [{{ address: '127.0.0.1:{public}' }}, {{ address: 'unix:{path}' }}]\n"
        f"services: [{{ name: shop, to: '{server(SERVER).url}' }}]\nadmin: 127.0.0.1:0\nworkers: 2\n"
    )
    sockets = passing(f"web=127.0.0.1:{public}", f"local={path}")
    words = [*sockets, clearway.binary(), "up", config, "--data", data]
    with clearway.Process(words, log=tmp_path / "clearway.log", env=manager.environment) as process:
        ready = manager.next()
        assert ready["READY"] == "1"
        for _ in range(2):
            result = clearway.command("upgrade", "--data", data)
            assert result.returncode == 0, result.stderr
            new = re.search(r"-> (\d+)", result.stdout).group(1)
            # Said by the old process, which is the only one that systemd believes; what the new one says comes after it.
            assert manager.next() == {"MAINPID": new, "STATUS": f"process {new} has taken over"}
            assert manager.next() == ready
            for _ in range(20):
                assert send(public, Request()).status == 200
        assert process.wait() == 0
        os.kill(int(new), signal.SIGTERM)
        assert manager.next()["STOPPING"] == "1"
        wait_until(lambda: clearway.command("routes", "--data", data).returncode == 1, "the last process to end")
    assert path.exists(), "the file of a socket unit is systemd's"
    manager.socket.close()
