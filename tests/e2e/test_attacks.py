"""Clients that mean harm: bounded memory and time, and the others are served all the while."""

import subprocess
import threading
import time

import psutil
import pytest
import rawhttp
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

from http2 import GET, POST, Connection, raw_frame
from processes import wait_until
from rawhttp import Request, send

#: The server behind the attacked host, and the one behind the host of the well-behaved client. They differ so that what
#: an attack costs a Python server is not taken for harm that the gateway let through.
SERVER = "uvicorn-httptools"
OTHER_SERVER = "waitress"
OTHER_HOST = "other.test"

#: What one attack may make the process grow by. The attacks send or ask for far more.
GROWTH_BYTES_MAX = 48 * 1024 * 1024


class Bystander:
    """A well-behaved client beside an attack: a request after the other, each of which must be answered."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.answers: list[int] = []
        self.failure = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self._over.is_set():
                self.answers.append(send(self.gateway.port, Request(host=OTHER_HOST)).status)
        except Exception as error:
            self.failure = error

    def __enter__(self):
        self.memory_before = memory(self.gateway)
        self._thread.start()
        wait_until(lambda: self.answers or self.failure, "the first answer")
        return self

    def __exit__(self, kind, *_):
        # The last of these was asked for when the attack was in full swing.
        answered = len(self.answers)
        wait_until(lambda: len(self.answers) > answered + 1 or self.failure, "answers beside the attack")
        self._over.set()
        self._thread.join(30)
        if kind is None:
            assert self.failure is None
            assert set(self.answers) == {200}
            assert memory(self.gateway) - self.memory_before < GROWTH_BYTES_MAX


def memory(gateway) -> int:
    return psutil.Process(gateway.pid).memory_info().rss


@pytest.fixture
def gateway(start_gateway, server):
    return start_gateway(
        config=f"""
services:
  - name: other
    to: {server(OTHER_SERVER).url}
    routes:
      - hosts: [{OTHER_HOST}]
  - name: attacked
    to: {server(SERVER).url}
"""
    )


def ends(connection: Connection) -> bool:
    """Whether the gateway ends the connection, by GOAWAY with an error or by closing."""
    # What it says is not asked for here: test_http2.py is about that.
    for _ in connection.frames():
        pass
    return True


def flood(connection: Connection, parts, seconds: float = 20) -> bool:
    """Sends until the gateway ends the connection; says whether it did before `parts` were over."""
    deadline = time.monotonic() + seconds
    for part in parts:
        if not connection.send_late(part):
            return True
        if time.monotonic() > deadline:
            break
    try:
        return ends(connection)
    except TimeoutError:
        return False


def streams(count: int):
    return range(1, 2 * count, 2)


def test_rapid_reset(gateway, server):
    """CVE-2023-44487: requests that are taken back at once cost the gateway more than the client."""
    before = server(SERVER).output()
    with Bystander(gateway), Connection(gateway.port) as attack:
        parts = (
            attack.headers(stream).serialize() + RstStreamFrame(stream, error_code=8).serialize()
            for stream in streams(20_000)
        )
        assert flood(attack, parts)
    assert server(SERVER).output().count("Traceback") == before.count("Traceback")


def test_made_you_reset(gateway):
    """CVE-2025-8671: the client breaks a rule on each stream, so that it is the gateway that resets."""
    with Bystander(gateway), Connection(gateway.port) as attack:
        parts = (
            attack.headers(stream).serialize() + raw_frame(8, 0, stream, bytes(4)) for stream in streams(20_000)
        )
        assert flood(attack, parts)


def test_continuations_without_end(gateway):
    """CVE-2024-27316: a head that never ends."""
    with Bystander(gateway), Connection(gateway.port) as attack:
        first = attack.headers(1, GET, "END_STREAM").serialize()
        fields = attack.encoder.encode([(f"x-{n}", "v" * 1000) for n in range(15)])
        parts = (first if n == 0 else ContinuationFrame(1, fields).serialize() for n in range(2000))
        assert flood(attack, parts)


def test_empty_continuations(gateway):
    with Bystander(gateway), Connection(gateway.port) as attack:
        first = attack.headers(1, GET, "END_STREAM").serialize()
        many = ContinuationFrame(1, b"").serialize() * 1000
        assert flood(attack, (first if n == 0 else many for n in range(1000)))


@pytest.mark.parametrize(
    "frame",
    [
        SettingsFrame().serialize(),
        SettingsFrame(settings={1: 4096, 3: 100, 4: 65535}).serialize(),
        PingFrame(0, b"12345678").serialize(),
        raw_frame(8, 0, 0, b"\0\0\0\1"),
        raw_frame(2, 0, 1, b"\0\0\0\0\0"),
        raw_frame(0xBE, 0, 0, b""),
    ],
    ids=["empty SETTINGS", "SETTINGS", "PING", "WINDOW_UPDATE", "PRIORITY", "unknown"],
)
def test_control_frames_without_end(gateway, frame):
    """CVE-2019-9512, -9515: each asks for an answer or for work, and carries nothing."""
    with Bystander(gateway), Connection(gateway.port) as attack:
        many = frame * 500
        assert flood(attack, (many for _ in range(2000)))


def test_empty_data_without_end(gateway):
    """CVE-2019-9518."""
    with Bystander(gateway), Connection(gateway.port) as attack:
        attack.send(attack.headers(1, POST, "END_HEADERS"))
        many = DataFrame(1, b"").serialize() * 500
        assert flood(attack, (many for _ in range(2000)))


@pytest.mark.parametrize("name", ["x-bomb", "cookie"])
def test_a_head_that_unpacks_to_megabytes(gateway, name):
    """One field of 4 kB, then thousands of one-byte references to it; cookies may come in crumbs."""
    with Bystander(gateway), Connection(gateway.port) as attack:
        first = attack.encoder.encode([*GET, (name, "v" * 3900)])
        # The newest entry of the dynamic table has the index 62.
        references = b"\xbe" * 16_000
        for stream in streams(50):
            head = first if stream == 1 else attack.encoder.encode(GET)
            if not attack.send_late(
                raw_frame(1, 0x1, stream, head), raw_frame(9, 0x4, stream, references)
            ):
                break
        assert not {200} & set(statuses(attack, last=99))


def statuses(connection: Connection, last: int):
    """The statuses of the answers on a connection, until the answer on stream `last` or the end."""
    for frame in connection.frames():
        if isinstance(frame, HeadersFrame):
            yield int(dict(connection.decoder.decode(frame.data))[":status"])
        if frame.stream_id == last or isinstance(frame, GoAwayFrame):
            return


def test_answers_that_nobody_reads(gateway):
    """Streams with a window of nothing ask for large answers: what is not read must not be held for them."""
    with Bystander(gateway):
        attacks = [Connection(gateway.port, settings={4: 0}) for _ in range(8)]
        path = (":path", "/_/sized?bytes=20000000")
        for attack in attacks:
            for stream in streams(50):
                attack.send_late(attack.headers(stream, (*GET[:3], path)))
        begun = [attack.socket.recv(1) for attack in attacks]
        assert all(begun)
        for attack in attacks:
            attack.close()


def test_answers_that_nobody_reads_in_http_1(gateway):
    with Bystander(gateway):
        attacks = [rawhttp.Connection(gateway.port) for _ in range(50)]
        for attack in attacks:
            attack.send(Request(target="/_/sized?bytes=20000000"))
        for attack in attacks:
            assert attack.socket.recv(1)
        for attack in attacks:
            attack.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(["-H", "-i", "2"], id="slow head"),
        pytest.param(["-B", "-i", "2", "-s", "100000"], id="slow body"),
        pytest.param(["-X", "-w", "1", "-y", "2", "-n", "2", "-z", "1", "-k", "3"], id="slow read"),
        pytest.param(["-R", "-a", "10", "-b", "3000"], id="ranges"),
    ],
)
def test_slowhttptest(gateway, kind):
    """Slow clients hold connections, and nobody else's."""
    with Bystander(gateway):
        subprocess.run(
            ["slowhttptest", *kind, "-c", "300", "-r", "300", "-l", "6", "-u", f"{gateway.url}/_/sized?bytes=1000000"],
            check=True,
            capture_output=True,
            timeout=50,
        )
