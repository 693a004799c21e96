"""Plain HTTP/1 traffic: what a client sends arrives whole, and what it gets back is what the application gave."""

import hashlib
import json

import pytest

from rawhttp import Connection, Request, send

#: One server of each kind of interface: these tests are about Clearway more than about the server.
TYPICAL = ("gunicorn-gthread", "gunicorn-uvicorn", "hypercorn", "uvicorn-httptools", "uwsgi")
ASGI = ("gunicorn-uvicorn", "hypercorn", "uvicorn-h11", "uvicorn-httptools", "granian-asgi")
STREAMING = (*ASGI, "gunicorn-gthread", "uwsgi")


def pattern(size_bytes: int) -> bytes:
    """Bytes in which a lost or doubled block shows."""
    return b"".join(n.to_bytes(4, "big") for n in range(size_bytes // 4))


def digest(body: bytes) -> dict:
    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@pytest.mark.parametrize("name", TYPICAL)
@pytest.mark.parametrize("size_bytes", [0, 4, 64 * 1024, 20 * 1024 * 1024])
def test_an_upload_arrives_whole(through, name, size_bytes):
    body = pattern(size_bytes)
    response = send(through(name).port, Request("POST", "/_/upload", body=body))
    assert (response.status, json.loads(response.body)) == (200, digest(body))


@pytest.mark.parametrize("name", TYPICAL)
def test_a_chunked_upload_arrives_whole(through, name):
    body = pattern(4 * 1024 * 1024)
    sizes = (1, 2, 3, 1000, 65536, 1024 * 1024, len(body))
    response = send(through(name).port, Request("POST", "/_/upload", body=body, chunks=sizes))
    assert (response.status, json.loads(response.body)) == (200, digest(body))


@pytest.mark.parametrize("name", TYPICAL)
@pytest.mark.parametrize("size_bytes", [0, 1, 20 * 1024 * 1024])
def test_a_download_arrives_whole(through, name, size_bytes):
    response = send(through(name).port, Request(target=f"/_/sized?bytes={size_bytes}"))
    assert (response.status, response.whole, len(response.body)) == (200, True, size_bytes)
    assert response.names["content-length"] == str(size_bytes)


@pytest.mark.parametrize("name", STREAMING)
@pytest.mark.parametrize("kind", ["text/event-stream", "application/json-lines"])
def test_a_stream_is_flushed_part_by_part(server, through, token, name, kind):
    """The application sends the next part only when the client has the one before."""
    target = f"/_/stream?count=3&token={token}&type={kind}"
    with Connection(through(name).port) as connection:
        connection.send(Request(target=target))
        received = b""
        for number in range(3):
            server(name).wait_until_held(f"{token}-{number}")
            server(name).release(f"{token}-{number}")
            while f"data: {number}\n\n".encode() not in received:
                part = connection.socket.recv(65536)
                assert part, received
                received += part
        assert kind.encode() in received


@pytest.mark.parametrize("name", ASGI)
def test_an_early_answer_reaches_a_client_that_still_uploads(through, name):
    with Connection(through(name).port) as connection:
        # One that told its length would be read first.
        head = b"POST /_/early HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.send(head + b"5\r\nbegin\r\n")
        assert connection.receive().status == 413


def test_head_has_the_length_and_no_body(through):
    with Connection(through("uvicorn-httptools").port) as connection:
        connection.send(Request("HEAD", "/_/sized?bytes=1000"))
        connection.send(Request("GET", "/_/sized?bytes=3"))
        head = connection.receive("HEAD")
        assert (head.status, head.names["content-length"], head.body) == (200, "1000", b"")
        assert connection.receive().body == b"xxx"


@pytest.mark.parametrize("status", [200, 201, 204, 301, 304, 400, 404, 418, 429, 500, 502, 503])
def test_the_applications_own_status_is_passed_on(through, status):
    with Connection(through("uvicorn-httptools").port) as connection:
        for _ in range(2):
            connection.send(Request(target=f"/_/status?status={status}"))
            response = connection.receive()
            assert response.status == status
            assert [value for name, value in response.headers if name.lower() == "set-cookie"] == ["a=1", "b=2"]
            assert response.body == (b"" if status in (204, 304) else b"{}")


def test_one_connection_serves_many_requests(through):
    with Connection(through("gunicorn-gthread").port) as connection:
        for number in range(200):
            connection.send(Request(target=f"/{number}"))
            assert json.loads(connection.receive().body)["path"] == f"/{number}"


@pytest.mark.parametrize("name", TYPICAL)
def test_pipelined_requests_are_answered_in_order(through, name):
    requests = [Request("POST" if n % 2 else "GET", f"/{n}", body=b"b" * n if n % 2 else b"") for n in range(20)]
    with Connection(through(name).port) as connection:
        connection.send(b"".join(request.encode() for request in requests))
        paths = [json.loads(connection.receive().body)["path"] for _ in requests]
    assert paths == [f"/{n}" for n in range(20)]


def test_http_1_0_gets_a_body_that_ends_with_the_connection(through):
    with Connection(through("uvicorn-httptools").port) as connection:
        connection.send(Request(target="/_/stream?count=2", version="1.0"))
        response = connection.receive()
        assert response.body == b"data: 0\n\ndata: 1\n\n"
        assert "transfer-encoding" not in response.names
        assert connection.is_closed()


def test_http_1_0_keep_alive(through):
    with Connection(through("uvicorn-httptools").port) as connection:
        for _ in range(2):
            connection.send(Request(target="/_/sized?bytes=3", version="1.0", headers=(("Connection", "keep-alive"),)))
            assert connection.receive().body == b"xxx"


def test_connection_close_is_kept(through):
    with Connection(through("uvicorn-httptools").port) as connection:
        connection.send(Request(target="/_/sized?bytes=3", headers=(("Connection", "close"),)))
        response = connection.receive()
        assert (response.body, response.names.get("connection")) == (b"xxx", "close")
        assert connection.is_closed()


def test_expect_continue_is_answered_before_the_body_is_sent(through):
    body = pattern(1000)
    head = f"POST /_/upload HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    with Connection(through("uvicorn-httptools").port) as connection:
        connection.send(head.encode())
        # http.client reads over the 100, which must have come for the body to be sent at all.
        assert connection.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert connection.file.readline() == b"\r\n"
        connection.send(body)
        assert json.loads(connection.receive().body) == digest(body)


def test_the_client_that_leaves_takes_its_attempt_along(server, through, token):
    with Connection(through("uvicorn-httptools").port) as connection:
        connection.send(Request(target=f"/_/gone?token={token}"))
        server("uvicorn-httptools").wait_until_held(token)
    server("uvicorn-httptools").wait_for_output(f"gone {token}\n")
    call = through("uvicorn-httptools").call("--path", "/_/gone")
    assert (call["status"], call["ending"]["by"], call["ending"]["fault"]) == (499, "client", "client-gone")
