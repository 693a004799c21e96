"""What servers do with a request that arrives when they close the idle connection it comes on.

Clearway takes a request of any method as undelivered, and sends it again, if the connection ended with FIN before a byte of
an answer, the server's kernel has acknowledged nothing of the request, and the socket then comes to its end. That assumes
that servers execute nothing that they read after they have closed their side. Here each server closes many connections,
and on each a request arrives then: `python undelivered.py [--connections N] [SERVER...]` prints a row of a table for each server,
and fails if one of those requests was executed. `test_undelivered.py` does the same with fewer connections.
"""

import argparse
import random
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from processes import ROOT, VENV, Process, free_port
from servers import APPS

#: Offset of `tcpi_bytes_acked` in `struct tcp_info` (linux/tcp.h); the state is its first byte.
BYTES_ACKED = 120
TCP_CLOSE = 7
#: How long Clearway waits for the reset that ends a connection whose peer is gone (`CLOSE_MAX` in upstream/src/http1.rs).
CLOSE_MAX = 0.064
#: How far around the close the requests are sent whose moment is chosen by the clock.
SPREAD = 0.003
#: After so long, a server has closed every idle connection.
PATIENCE = 20


@dataclass(frozen=True)
class Kind:
    """A server that closes idle connections after a second, or each one after its answer."""

    words: tuple[str, ...]
    #: Whether it keeps connections at all; with the others, the second request comes when the first was answered.
    keeps: bool = True


GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "1", "--no-control-socket", "--log-level", "warning")
UVICORN = ("uvicorn", "executed:asgi", "--port", "{port}", "--log-level", "warning", "--no-access-log")
GRANIAN = ("granian", "--port", "{port}", "--workers", "1", "--no-access-log", "--log-level", "warning")
GRANIAN += ("--http1-header-read-timeout", "1000")
WAITRESS = ("waitress-serve", "--listen", "127.0.0.1:{port}", "--channel-timeout", "1", "--cleanup-interval", "1")

SERVERS = {
    "granian-asgi": Kind((*GRANIAN, "--interface", "asgi", "executed:asgi")),
    "granian-wsgi": Kind((*GRANIAN, "--interface", "wsgi", "executed:wsgi")),
    "gunicorn-gthread": Kind((*GUNICORN, "--keep-alive", "1", "-k", "gthread", "--threads", "8", "executed:wsgi")),
    "gunicorn-sync": Kind((*GUNICORN, "executed:wsgi"), keeps=False),
    "gunicorn-uvicorn": Kind((*GUNICORN, "--keep-alive", "1", "-k", "uvicorn_worker.UvicornWorker", "executed:asgi")),
    "hypercorn": Kind(("hypercorn", "--bind", "127.0.0.1:{port}", "--keep-alive", "1", "executed:asgi")),
    "uvicorn-h11": Kind((*UVICORN, "--timeout-keep-alive", "1", "--http", "h11")),
    "uvicorn-httptools": Kind((*UVICORN, "--timeout-keep-alive", "1", "--http", "httptools")),
    "uwsgi": Kind(
        ("uwsgi", "--master", "--die-on-term", "--need-app", "--workers", "2", "--buffer-size", "65535", "--listen", "100")
        + ("--http-socket", "127.0.0.1:{port}", "--virtualenv", str(VENV), "--module", "executed:wsgi")
        + ("--callable", "wsgi", "--disable-logging"),
        keeps=False,
    ),
    "waitress": Kind((*WAITRESS, "--threads", "8", "executed:wsgi")),
}

#: The limit of the rule, which is documented: a server that reads on after it has ended its side, executes what it reads,
#: and resets the connection before its kernel has acknowledged that. No server above does. It is here so that the race is
#: seen to notice.
LIMIT = Kind(("python", str(ROOT / "tests/battery/scripted.py"), "{port}", "half-closes"))


@dataclass
class Tally:
    """How the requests ended, by what Clearway would make of it, and how many of each were executed."""

    ends: Counter
    executed: Counter

    def __str__(self):
        parts = (f"{end} {count} ({self.executed[end]} executed)" for end, count in sorted(self.ends.items()))
        return ", ".join(parts)


class Client:
    """A connection like those that Clearway keeps."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request_id: str):
        head = f"POST /{request_id} HTTP/1.1\r\nHost: shop.test\r\nX-Test-Id: {request_id}\r\nContent-Length: 1\r\n\r\nx"
        self.socket.sendall(head.encode())

    def receive(self) -> bytes:
        """A whole answer; the applications answer with `ok`."""
        data = b""
        while not data.partition(b"\r\n\r\n")[2].endswith(b"ok"):
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError(f"no answer, only {data}")
            data += piece
        return data

    def info(self) -> bytes:
        return self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED + 8)

    def acked(self) -> int:
        return struct.unpack_from("=Q", self.info(), BYTES_ACKED)[0]

    def wait_for_end(self):
        """Until the server has ended its side, without reading that."""
        select.select([self.socket], [], [], PATIENCE)

    def end_of(self, request_id: str) -> str:
        """Sends the request, and says what Clearway would make of its end."""
        before = self.acked()
        try:
            self.send(request_id)
            data = self.socket.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            return "reset"
        if data:
            return "answered"
        deadline = time.monotonic() + CLOSE_MAX
        while self.acked() == before:
            if self.info()[0] == TCP_CLOSE:
                return "undelivered"
            if time.monotonic() > deadline:
                return "unknown"
            time.sleep(0.001)
        return "taken"


def closes_after(port: int) -> float:
    """After how much idling the server ends a connection."""
    client = Client(port)
    client.send("calibration")
    client.receive()
    answered = time.monotonic()
    client.wait_for_end()
    return time.monotonic() - answered


def race(kind: Kind, folder: Path, connections: int, programs: Path = VENV / "bin") -> Tally:
    """Every other request is sent by the clock, around the close; the rest as soon as the server has ended its side."""
    port = free_port()
    executed = folder / "executed"
    executed.touch()
    program, *words = (word.format(port=port) for word in kind.words)
    if programs != VENV / "bin":
        # Older versions do not know it, and do not need it.
        words = [word for word in words if word != "--no-control-socket"]
    environment = {"EXECUTED": str(executed), "NAME": "raced", "PYTHONPATH": str(APPS)}
    log = folder / "log"
    ends = {}
    with Process([programs / program, *words], log=log, cwd=APPS, env=environment) as server:
        server.wait_for_port(port)
        closes = closes_after(port) if kind.keeps else 0
        opened = threading.Semaphore(100)

        def ask(number: int):
            with opened:
                client = Client(port)
                client.send(f"first-{number}")
                client.receive()
            answered = time.monotonic()
            if kind.keeps and number % 2:
                moment = answered + closes + random.uniform(-SPREAD, SPREAD)
                # The moment itself is what is tested.
                time.sleep(max(0, moment - time.monotonic()))
            elif kind.keeps:
                client.wait_for_end()
            ends[f"raced-{number}"] = client.end_of(f"raced-{number}")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # The server has ended: what it was to execute, it has executed.
    times = Counter(executed.read_text().split())
    return Tally(
        Counter(ends.values()),
        Counter(end for request_id, end in ends.items() if times[request_id] > 0),
    )


def version_of(name: str, programs: Path) -> str:
    package = {"uwsgi": "pyuwsgi"}.get(name.partition("-")[0], name.partition("-")[0])
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([programs / "python", "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1000, help="of each server")
    parser.add_argument("--programs", type=Path, default=VENV / "bin", help="where the servers are installed")
    parser.add_argument("servers", nargs="*", choices=[*SERVERS, []], help="all by default")
    options = parser.parse_args()
    wrong = False
    for name in options.servers or SERVERS:
        with tempfile.TemporaryDirectory() as folder:
            tally = race(SERVERS[name], Path(folder), options.connections, options.programs)
        wrong |= tally.executed["undelivered"] > 0
        print(f"| {name} | {version_of(name, options.programs)} | {tally} |", flush=True)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
