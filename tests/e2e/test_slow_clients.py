"""Clients that send or read slowly, in front of a server with a single worker that serves one request at a time.

The worker must have nothing to do with them: everybody else is answered while they are still at it.
"""

import hashlib
import json
import os
import resource
import signal
import urllib.request

import pytest
from hyperframe.frame import DataFrame, SettingsFrame, WindowUpdateFrame

import http2
from processes import wait_until
from rawhttp import Connection, Request, send

KIB = 1024


def content(length: int, seed: int) -> bytes:
    return hashlib.shake_128(bytes([seed])).digest(length)


def metric(gateway, name: str) -> float:
    with urllib.request.urlopen(f"{gateway.management}/metrics", timeout=15) as response:
        lines = response.read().decode().splitlines()
    values = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
    assert values, f"no {name}"
    return sum(values)


class Upload:
    """A request whose body comes little by little, by HTTP/1.1 or HTTP/2."""

    def __init__(self, port: int, body: bytes, way: str):
        self.body = body
        self.way = way
        self.left = body
        head = f"POST /_/upload HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {len(body)}\r\n\r\n"
        if way == "http2":
            self.connection = http2.Connection(port)
            # With the settings of the gateway its window is 256 KiB; more is sent only after it has read.
            next(frame for frame in self.connection.frames() if isinstance(frame, SettingsFrame))
            fields = (*http2.POST[:3], (":path", "/_/upload"), ("content-length", str(len(body))))
            self.connection.send(self.connection.headers(1, fields, "END_HEADERS"))
        else:
            self.connection = Connection(port)
            self.connection.send(head.encode())

    def send(self, length: int):
        part, self.left = self.left[:length], self.left[length:]
        if self.way == "http2":
            # No frame is larger than anybody must take (RFC 9113 section 4.2).
            for at in range(0, len(part), 16384):
                piece = part[at : at + 16384]
                is_last = not self.left and at + 16384 >= len(part)
                self.connection.send(DataFrame(1, piece, flags=["END_STREAM"] if is_last else []))
        else:
            self.connection.send(part)

    def digest(self) -> dict:
        """What the application says it got."""
        if self.way != "http2":
            return json.loads(self.connection.receive("POST").body)
        received = b""
        for frame in self.connection.frames():
            if isinstance(frame, DataFrame):
                received += frame.data
                if "END_STREAM" in frame.flags:
                    break
        return json.loads(received)

    def is_right(self) -> bool:
        digest = self.digest()
        return digest == {"bytes": len(self.body), "sha256": hashlib.sha256(self.body).hexdigest()}


class Reader:
    """A request for 60 KB whose answer is not read for now, by HTTP/1.1 or HTTP/2."""

    LENGTH = 60_000

    def __init__(self, port: int, way: str):
        self.way = way
        target = f"/_/sized?bytes={self.LENGTH}"
        if way == "http2":
            self.connection = http2.Connection(port, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0})
            fields = (*http2.GET[:3], (":path", target))
            self.connection.send(self.connection.headers(1, fields))
        else:
            self.connection = Connection(port)
            self.connection.send(Request(target=target))

    def read(self) -> int:
        if self.way != "http2":
            return len(self.connection.receive().body)
        self.connection.send(WindowUpdateFrame(1, window_increment=self.LENGTH))
        received = 0
        for frame in self.connection.frames():
            if isinstance(frame, DataFrame):
                received += len(frame.data)
                if "END_STREAM" in frame.flags:
                    break
        return received


def test_everybody_else_is_answered_by_the_only_worker(start_server, start_gateway):
    server = start_server("gunicorn-sync")
    gateway = start_gateway("--to", server.url)
    ways = ["http1", "http2"]
    uploads = [
        Upload(gateway.port, content(length * KIB, number), ways[number % 2])
        for length in (300, 20)
        for number in range(20)
    ]
    readers = [Reader(gateway.port, ways[number % 2]) for number in range(10)]
    for _ in range(15):
        for upload in uploads:
            # A twentieth each time, which is not all.
            upload.send(len(upload.body) // 20)
        assert send(gateway.port, Request(), timeout=30).status == 200
    assert metric(gateway, "clearway_bodies_spooled_total") == 20
    assert metric(gateway, "clearway_spool_bytes") == 20 * 300 * KIB
    # The attempts of those that do not read are over: the worker has nothing to do with them.
    wait_until(lambda: [row["in_flight"] for row in gateway.upstreams()] == [0], "no attempt in flight")
    for upload in uploads:
        upload.send(len(upload.left))
        assert upload.is_right(), (len(upload.body), upload.way)
    assert [reader.read() for reader in readers] == [Reader.LENGTH] * len(readers)
    wait_until(lambda: metric(gateway, "clearway_spool_bytes") == 0, "no body in a file")


@pytest.mark.parametrize("length", [20 * KIB, 64 * KIB, 64 * KIB + 1, 300 * KIB, 3_000_000])
@pytest.mark.parametrize("name", ["gunicorn-sync", "gunicorn-gthread", "uvicorn-h11", "uwsgi", "waitress"])
def test_an_upload_arrives_unchanged(through, name, length):
    body = content(length, 7)
    right = {"bytes": length, "sha256": hashlib.sha256(body).hexdigest()}
    request = Request("POST", "/_/upload", body=body)
    for one in (request, request.with_(chunks=(10_000,) * (length // 10_000 + 1))):
        assert json.loads(send(through(name).port, one).body) == right


def begin_upload(gateway) -> Upload:
    """One that is on its way into a file."""
    upload = Upload(gateway.port, content(1 << 20, 1), "http1")
    upload.send(500 * KIB)
    wait_until(lambda: metric(gateway, "clearway_bodies_spooled_total") == 1, "a body in a file")
    return upload


def test_a_killed_process_leaves_no_file(start_gateway, server):
    gateway = start_gateway("--to", server("uvicorn-h11").url)
    upload = begin_upload(gateway)
    folder = gateway.data / "spool"
    assert folder.stat().st_mode & 0o777 == 0o700
    os.kill(gateway.pid, signal.SIGKILL)
    assert upload.connection.is_closed()
    assert list(folder.iterdir()) == []


def test_a_disk_that_becomes_full_in_the_middle_of_an_upload_costs_nothing(start_gateway, server):
    gateway = start_gateway("--to", server("uvicorn-h11").url)
    upload = begin_upload(gateway)
    # To who writes, a limit of file sizes is a full disk.
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (600 * KIB, 600 * KIB))
    upload.send(len(upload.left))
    assert upload.is_right()
    assert metric(gateway, "clearway_bodies_unspooled_total") == 1
    assert send(gateway.port, Request()).status == 200, "it lives"


def test_a_directory_that_cannot_be_used_is_told_at_the_start(start_gateway, server, tmp_path):
    (tmp_path / "taken").write_text("by a file")
    config = (
        f"services: [{{ name: app, to: {server('uvicorn-h11').url} }}]\n"
        "listeners: [{ address: 127.0.0.1:0 }]\nspool: { directory: taken }\n"
    )
    gateway = start_gateway(config=config)
    gateway.wait_for_output("request bodies that are too large for memory will stream")
    body = content(300 * KIB, 3)
    answer = send(gateway.port, Request("POST", "/_/upload", body=body))
    assert json.loads(answer.body)["sha256"] == hashlib.sha256(body).hexdigest()
    assert metric(gateway, "clearway_bodies_unspooled_total") == 1
