"""When the upstream fails: the client gets an honest answer, and the record says who, when and how."""

import json
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from processes import free_port
from rawhttp import Connection, Request, send

PROBLEM = "application/problem+json"

#: The servers whose worker can be killed while a request is with it.
KILLABLE = ("gunicorn-sync", "gunicorn-gthread", "gunicorn-uvicorn", "uwsgi")


def problem(response) -> dict:
    assert response.names["content-type"] == PROBLEM, response
    return json.loads(response.body)


@pytest.mark.parametrize("name", KILLABLE)
def test_a_worker_killed_in_a_post_is_an_honest_502(start_server, start_gateway, token, name):
    server = start_server(name)
    gateway = start_gateway("--to", server.url)
    worker = json.loads(send(gateway.port, Request()).body)["worker"]
    with ThreadPoolExecutor(1) as pool:
        request = Request("POST", f"/_/held?token={token}", body=b"once")
        answer = pool.submit(send, gateway.port, request)
        server.wait_until_held(token)
        os.kill(worker, signal.SIGKILL)
        response = answer.result(30)
    said = problem(response)
    assert (response.status, said["status"]) == (502, 502)
    assert said["request_id"] == response.names["x-request-id"]
    assert said["fault"] in ("early-close", "reset")

    call = gateway.call("--status", "5xx")
    assert (call["id"], call["status"]) == (said["request_id"], 502)
    assert call["ending"] == {"by": "upstream", "during": "await-head", "fault": said["fault"]}
    # A POST that may have been executed is not sent twice.
    assert [attempt["ending"]["fault"] for attempt in call["attempts"]] == [said["fault"]]
    assert server.output().count(f"holding {token}\n") == 1
    # The log line and the timeline of the call say the same.
    gateway.wait_for_output(said["request_id"])
    line = next(line for line in gateway.output().splitlines() if said["request_id"] in line)
    shown = gateway.ask("calls", "show", said["request_id"]).stdout
    for word in (said["fault"], "await-head", "502", "/_/held"):
        assert word in line, line
        assert word in shown, shown


def test_nobody_listens(start_gateway):
    port = free_port()
    gateway = start_gateway("--to", f"http://127.0.0.1:{port}")
    response = send(gateway.port, Request())
    assert (response.status, problem(response)["fault"]) == (502, "connect-refused")
    call = gateway.call("--fault", "connect-refused")
    assert call["ending"]["during"] == "connect"
    assert call["attempts"][0]["target"] == f"http://127.0.0.1:{port}"


def test_a_missing_unix_socket(start_gateway, tmp_path):
    gateway = start_gateway("--to", f"unix:{tmp_path}/nobody.sock")
    response = send(gateway.port, Request())
    assert (response.status, problem(response)["fault"]) == (502, "connect-refused")


def test_a_name_that_does_not_resolve(start_gateway):
    # RFC 6761 section 6.4: this name never exists.
    gateway = start_gateway("--to", "http://nobody.invalid:8000")
    response = send(gateway.port, Request(), timeout=30)
    assert (response.status, problem(response)["fault"]) == (502, "dns-failed")


def test_the_answer_says_nothing_about_the_inside(start_gateway):
    port = free_port()
    gateway = start_gateway("--to", f"http://127.0.0.1:{port}")
    for accept in ("application/json", "text/html"):
        response = send(gateway.port, Request(headers=(("Accept", accept),)))
        text = f"{response.headers} {response.body.decode()}".lower()
        for inside in (str(port), "127.0.0.1", "errno", "refused ("):
            assert inside not in text, inside


def test_an_answer_cut_short_is_not_taken_for_a_whole_one(start_server, start_gateway, token):
    server = start_server("gunicorn-uvicorn")
    gateway = start_gateway("--to", server.url)
    with Connection(gateway.port) as connection:
        connection.send(Request(target=f"/_/broken?token={token}"))
        server.wait_until_held(token)
        server.release(token)
        response = connection.receive()
        assert (response.status, response.whole) == (200, False)
        assert connection.is_closed()
    call = gateway.call("--path", "/_/broken")
    assert call["ending"]["during"] == "body"
    assert call["ending"]["fault"] in ("body-truncated", "body-reset")


class Scripted:
    """An upstream that answers every connection's first request with fixed bytes, then closes."""

    def __init__(self, answer: bytes):
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                try:
                    self.answer_once(connection)
                except OSError:
                    pass  # A gateway that has seen enough may reset the connection.

    def answer_once(self, connection):
        received = b""
        while b"\r\n\r\n" not in received:
            part = connection.recv(65536)
            if not part:
                return
            received += part
        connection.sendall(self.answer)
        # The client reads what was sent before it sees the end.
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


HEAD = b"HTTP/1.1 200 OK\r\n"

#: What an upstream may do wrong, the fault it is, and the phase.
WRONG = {
    "closes at once": (b"", "early-close", "await-head"),
    "closes in its head": (HEAD + b"Content-Le", "early-close", "await-head"),
    "speaks no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", "response-malformed", "await-head"),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "response-malformed", "await-head"),
    "length and chunked": (
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "response-malformed",
        "await-head",
    ),
    "a head too large": (HEAD + b"X: " + b"x" * 70_000 + b"\r\n\r\n", "response-head-too-large", "await-head"),
    "too many fields": (HEAD + b"X: x\r\n" * 300 + b"\r\n", "response-head-too-large", "await-head"),
    "a bare line feed": (b"HTTP/1.1 200 OK\nX: a\n\n", "response-malformed", "await-head"),
}


@pytest.mark.parametrize("answer, fault, phase", WRONG.values(), ids=WRONG)
def test_an_upstream_that_breaks_the_rules(start_gateway, answer, fault, phase):
    with Scripted(answer) as upstream:
        gateway = start_gateway("--to", upstream.url)
        response = send(gateway.port, Request("POST", body=b"x"))
        assert (response.status, problem(response)["fault"]) == (502, fault)
        call = gateway.call("--status", "502")
        assert call["ending"] == {"by": "upstream", "during": phase, "fault": fault}


def test_large_heads_that_other_proxies_refuse(start_gateway):
    fields = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 200) for n in range(250))
    with Scripted(HEAD + fields + b"Content-Length: 2\r\n\r\nok") as upstream:
        response = send(start_gateway("--to", upstream.url).port, Request())
        assert (response.status, response.body) == (200, b"ok")
        assert response.names["x-249"] == "v" * 200


def test_await_head_timeout(start_gateway, server, token):
    config = f"""
services:
  - name: shop
    to: {server("uvicorn-httptools").url}
    routes: [{{ timeouts: {{ await-head: 200ms }} }}]
"""
    gateway = start_gateway(config=config)
    response = send(gateway.port, Request("POST", f"/_/held?token={token}"))
    server("uvicorn-httptools").release(token)
    assert (response.status, problem(response)["fault"]) == (504, "await-head-timeout")
    limit = gateway.call("--status", "504")["attempts"][0]["limit"]
    assert "await-head" in json.dumps(limit)


def test_another_target_when_one_cannot_be_reached(start_gateway, server):
    config = f"""
upstreams:
  - name: shop
    targets: ["http://127.0.0.1:{free_port()}", "{server("uvicorn-httptools").url}"]
services:
  - name: shop
    upstream: shop
"""
    gateway = start_gateway(config=config)
    assert [send(gateway.port, Request("POST", body=b"x")).status for _ in range(6)] == [200] * 6
