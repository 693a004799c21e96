"""Secrets that pass through must stay in no record, log line, metric or file."""

import json
import urllib.request

import pytest
from websockets.sync.client import connect

from processes import free_port
from rawhttp import Connection, Request, send

#: Where a secret may hide, each with a word of its own.
SENTINELS = {
    place: f"sentinel{place.replace('-', '')}f00dbeef"
    for place in ("query", "fragment", "authorization", "cookie", "header", "body", "set-cookie", "userinfo", "referer", "key")
}


def secret_request(method: str, path: str) -> Request:
    return Request(
        method,
        f"{path}?token={SENTINELS['query']}",
        headers=(
            ("Authorization", f"Bearer {SENTINELS['authorization']}"),
            ("Cookie", f"session={SENTINELS['cookie']}"),
            ("X-Api-Key", SENTINELS["header"]),
            ("Referer", f"http://shop.test/?token={SENTINELS['referer']}"),
            ("Accept", "application/json"),
        ),
        body=SENTINELS["body"].encode() if method != "GET" else b"",
    )


def everything_said(gateway) -> dict[str, str]:
    """All that an operator or a thief of the disk could read, by where it was."""
    calls = gateway.calls()
    with urllib.request.urlopen(f"{gateway.management}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    # The lines come after the records.
    for call in calls:
        gateway.wait_for_output(call["id"])
    said = {
        "log": gateway.output(),
        "metrics": metrics,
        "calls in JSON": json.dumps(calls),
        "calls": gateway.ask("calls").stdout,
        "shown": "".join(gateway.ask("calls", "show", call["id"]).stdout for call in calls),
        "routes": gateway.ask("routes").stdout,
        "upstreams": gateway.ask("upstreams").stdout,
    }
    gateway.stop()
    for path in gateway.data.rglob("*"):
        if path.is_file():
            said[path.name] = path.read_bytes().decode("latin-1")
    return said


def assert_no_secret(gateway):
    for place, text in everything_said(gateway).items():
        for kind, sentinel in SENTINELS.items():
            assert sentinel not in text, f"the secret of the {kind} is in {place}"


def test_of_requests_that_succeed(start_gateway, server):
    gateway = start_gateway("--to", server("uvicorn-httptools").url)
    for method in ("GET", "POST"):
        response = send(gateway.port, secret_request(method, "/items"))
        assert response.status == 200
        assert SENTINELS["authorization"] in response.body.decode(), "the application must get it"
    with connect(
        f"{gateway.url.replace('http:', 'ws:')}/chat?token={SENTINELS['query']}",
        additional_headers={"Authorization": f"Bearer {SENTINELS['authorization']}"},
    ) as socket:
        socket.send(SENTINELS["body"])
        socket.recv(timeout=10)
    gateway.call("--status", "101")
    assert_no_secret(gateway)


def test_of_requests_that_fail(start_gateway, server):
    config = f"""
services:
  - name: down
    to: http://127.0.0.1:{free_port()}
    routes: [{{ paths: [/down/*] }}]
  - name: up
    to: {server("uvicorn-httptools").url}
    routes: [{{ paths: [/up/*], methods: [GET] }}]
"""
    gateway = start_gateway(config=config)
    assert send(gateway.port, secret_request("POST", "/down/x")).status == 502
    assert send(gateway.port, secret_request("POST", "/up/x")).status == 405
    assert send(gateway.port, secret_request("GET", "/nowhere")).status == 404
    for broken in (
        f"GET /?t={SENTINELS['query']}\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer {SENTINELS['authorization']}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nCookie: {SENTINELS['cookie']}\x00\r\n\r\n",
        f"GET http://u:{SENTINELS['userinfo']}@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        f"{SENTINELS['body']}\r\n\r\n",
    ):
        with Connection(gateway.port) as connection:
            connection.send(broken.encode())
            assert connection.receive().status == 400, broken
    assert_no_secret(gateway)


def test_of_the_configuration(start_gateway, server, tmp_path):
    """An API key of a consumer, given by the environment."""
    config = f"""
consumers:
  - name: mobile
    api-keys: ["${{env:MOBILE_KEY}}"]
services:
  - name: shop
    to: {server("uvicorn-httptools").url}
    routes: [{{ policies: [{{ api-key: {{}} }}] }}]
"""
    gateway = start_gateway(config=config, env={"MOBILE_KEY": SENTINELS["key"]})
    assert send(gateway.port, Request()).status == 401
    response = send(gateway.port, Request(headers=(("X-Api-Key", SENTINELS["key"]),)))
    assert response.status == 200
    assert gateway.call("--consumer", "mobile")["consumer"] == "mobile"
    assert_no_secret(gateway)


@pytest.mark.parametrize("status", [401, 502])
def test_of_answers_that_set_cookies(start_gateway, server, status):
    gateway = start_gateway("--to", server("uvicorn-httptools").url)
    response = send(gateway.port, secret_request("GET", "/_/status").with_(target=f"/_/status?status={status}"))
    assert "set-cookie" in response.names
    assert_no_secret(gateway)
