"""Targets whose name moves: asked again by TTL, and the last good answer kept, against a real name server on port 53.

The gateway gets a `resolv.conf` of its own in a mount namespace, which needs root.
"""

import os
import socket
import socketserver
import struct
import threading

import pytest

from processes import wait_until
from rawhttp import Connection, Request, send

NAME = "app.internal.example"
#: The whole of 127/8 is the loopback, so that port 53 there is nobody else's.
SERVER = "127.53.0.1"
OLD, NEW = "127.53.0.2", "127.53.0.3"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 53 and a mount namespace need root")


class NameServer(socketserver.UDPServer):
    """Answers for one name: its addresses with a TTL of one second, or a failure (`None`)."""

    allow_reuse_address = True

    def __init__(self, addresses: list[str]):
        super().__init__((SERVER, 53), Answer)
        self.addresses: list[str] | None = addresses
        #: Questions for IPv4 addresses so far.
        self.asked = 0

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Answer(socketserver.BaseRequestHandler):
    """One question, one answer (RFC 1035 section 4.1)."""

    server: NameServer

    def handle(self):
        question, peer = self.request
        end = question.index(b"\0", 12) + 5
        kind = struct.unpack("!H", question[end - 4 : end - 2])[0]
        addresses = self.server.addresses
        records = b""
        count = 0
        if kind == 1:
            self.server.asked += 1
            for address in addresses or ():
                # A pointer to the name in the question, type A, class IN, TTL, length.
                records += struct.pack("!HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(address)
                count += 1
        code = 0x8182 if addresses is None else 0x8180
        head = question[:2] + struct.pack("!HHHHH", code, 1, count, 0, 0)
        peer.sendto(head + question[12:end] + records, self.client_address)


class Named(socketserver.ThreadingTCPServer):
    """An upstream that keeps its connections and answers with its own address."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: str, port: int):
        super().__init__((address, port), Greeting)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class Greeting(socketserver.StreamRequestHandler):
    def handle(self):
        own = self.request.getsockname()[0].encode()
        while line := self.rfile.readline():
            if line == b"\r\n":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(own), own))


@pytest.fixture
def upstreams():
    old = Named(OLD, 0)
    port = old.server_address[1]
    new = Named(NEW, port)
    yield port
    for one in (old, new):
        one.shutdown()
        one.server_close()


@pytest.fixture
def start(start_gateway, tmp_path):
    """A gateway whose name server is ours."""
    configuration = tmp_path / "resolv.conf"
    configuration.write_text(f"nameserver {SERVER}\noptions timeout:1 attempts:1\n")
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return lambda *words: start_gateway(*words, under=("unshare", "--mount", "sh", "-c", script, configuration))


def who(gateway) -> str:
    response = send(gateway.port, Request())
    assert response.status == 200
    return response.body.decode()


def test_a_name_that_moves_is_followed_and_one_that_fails_is_remembered(start, upstreams):
    with NameServer([OLD]) as names:
        gateway = start("--to", f"http://{NAME}:{upstreams}")
        assert who(gateway) == OLD
        # A connection in constant use moves with the name, too.
        names.addresses = [NEW]
        wait_until(lambda: who(gateway) == NEW, "an answer of the new address")
        names.addresses = None
        asked = names.asked
        wait_until(lambda: names.asked >= asked + 3, "questions that fail")
        assert who(gateway) == NEW
    # And without any name server at all.
    assert who(gateway) == NEW
    assert gateway.calls("--status", "5xx") == []


def test_a_name_that_never_resolved_is_a_failure_that_ends_by_itself(start, upstreams):
    with NameServer([]) as names:
        gateway = start("--to", f"http://{NAME}:{upstreams}")
        assert send(gateway.port, Request()).status == 502
        call = gateway.call("--status", "5xx")
        assert (call["ending"]["fault"], call["ending"]["during"]) == ("dns-failed", "resolve")
        names.addresses = [OLD]
        wait_until(lambda: send(gateway.port, Request()).status == 200, "an answer")


def test_all_addresses_are_tried(start, upstreams):
    # Nothing listens at the first one.
    with NameServer(["127.53.0.9", OLD]):
        gateway = start("--to", f"http://{NAME}:{upstreams}")
        with Connection(gateway.port) as connection:
            connection.send(Request("POST", body=b"once"))
            assert connection.receive("POST").body.decode() == OLD
