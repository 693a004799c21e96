"""WebSockets through Clearway."""

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode
from websockets.sync.client import connect

from rawhttp import Connection

SERVERS = ("gunicorn-uvicorn", "hypercorn", "uvicorn-h11", "granian-asgi")


@pytest.fixture(params=SERVERS)
def url(request, through):
    return through(request.param).url.replace("http:", "ws:")


def test_messages_come_back(url):
    with connect(f"{url}/chat?room=1", max_size=None) as socket:
        for message in ("text", "ünïcode", "", b"\x00\xff", b"x" * 125, b"x" * 126, b"x" * 65536, b"x" * 1_000_000):
            socket.send(message)
            assert socket.recv(timeout=10) == message


def test_fragments_and_pings(url):
    with connect(url) as socket:
        socket.send(["a", "b", "c"])
        assert socket.recv(timeout=10) == "abc"
        assert socket.ping().wait(10)


def test_subprotocol(url):
    with connect(url, subprotocols=["chat.v2", "chat.v1"]) as socket:
        assert socket.subprotocol == "chat.v2"


def test_the_servers_close_code_reaches_the_client(url):
    with connect(url) as socket:
        socket.send("close me")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=10)
        assert closed.value.rcvd.code == 4001


def test_the_clients_close_code_reaches_the_server(through, server):
    with connect(through("uvicorn-h11").url.replace("http:", "ws:")) as socket:
        socket.send("x")
        socket.recv(timeout=10)
        socket.close(code=CloseCode.GOING_AWAY)
    server("uvicorn-h11").wait_for_output("disconnect 1001\n")


def test_a_refused_handshake_is_the_applications_answer(url):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{url}/_/refuse")
    assert refused.value.response.status_code == 403


def test_nothing_is_tunnelled_before_the_101(through):
    """A client that sends on without waiting must not reach the application with it (RFC 9110 section 7.8)."""
    handshake = (
        b"GET /_/status?status=200 HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: nonsense\r\n\r\n"
        b"GET /second HTTP/1.1\r\nHost: shop.test\r\n\r\n"
    )
    with Connection(through("uvicorn-h11").port) as connection:
        connection.send(handshake)
        assert connection.receive().status == 200
        # What followed is the next request, parsed and routed as one.
        second = connection.receive()
        assert b'"path": "/second"' in second.body
        assert b"x-request-id" in second.body


def test_the_exchange_is_recorded_as_upgraded(start_gateway, server):
    gateway = start_gateway("--to", server("uvicorn-h11").url)
    with connect(gateway.url.replace("http:", "ws:")) as socket:
        socket.send("x")
        socket.recv(timeout=10)
    call = gateway.call("--status", "101")
    assert call["ending"]["fault"] is None
    assert call["response_body_bytes"] > 0
