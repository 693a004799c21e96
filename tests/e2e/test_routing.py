"""What is not routed: the answers Clearway gives itself."""

import json

import pytest

from rawhttp import Connection, Request, send

PROBLEM = "application/problem+json"


def config(url: str) -> str:
    return f"""
services:
  - name: shop
    to: {url}
    routes:
      - paths: [/items/*]
        methods: [GET, PUT]
"""


def test_nothing_configured_says_what_to_do(start_gateway, tmp_path):
    gateway = start_gateway(config="services: []\n")
    response = send(gateway.port, Request(headers=(("Accept", "application/json"),)))
    problem = json.loads(response.body)
    assert (response.status, response.names["content-type"], problem["fault"]) == (404, PROBLEM, "not-configured")
    assert "clearway" in problem["detail"]


def test_unknown_paths_and_methods(start_gateway, server):
    gateway = start_gateway(config=config(server("uvicorn-httptools").url))
    expected = {
        ("GET", "/items/1"): (200, None),
        ("GET", "/items"): (200, None),
        ("GET", "/itemsx"): (404, "no-route"),
        ("GET", "/items/../secret"): (404, "no-route"),
        ("GET", "/items/%2e%2e/secret"): (404, "no-route"),
        ("PUT", "/items/1"): (200, None),
        ("POST", "/items/1"): (405, "method-not-allowed"),
        ("POST", "/other"): (404, "no-route"),
    }
    found = {}
    with Connection(gateway.port) as connection:
        for method, target in expected:
            connection.send(Request(method, target))
            response = connection.receive(method)
            problem = json.loads(response.body) if response.names["content-type"] == PROBLEM else {}
            found[method, target] = (response.status, problem.get("fault"))
            if response.status == 405:
                assert response.names["allow"] == "GET, PUT"
    assert found == expected


def test_errors_are_problem_documents_or_pages(start_gateway):
    gateway = start_gateway(config="services: []\n")
    for accept, kind in (
        ("*/*", PROBLEM),
        ("application/json", PROBLEM),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
    ):
        response = send(gateway.port, Request(headers=(("Accept", accept),)))
        assert response.names["content-type"].startswith(kind), accept
        assert response.names["x-request-id"] in response.body.decode(), accept


def test_malformed_requests_are_refused_and_recorded(start_gateway, server):
    gateway = start_gateway("--to", server("uvicorn-httptools").url)
    for sent, status in (
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: a\r\n\r\n", 400),
        (b"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/3.7\r\nHost: a\r\n\r\n", 505),
    ):
        with Connection(gateway.port) as connection:
            connection.send(sent)
            assert connection.receive().status == status, sent[:80]
            assert connection.is_closed(), sent[:80]
        gateway.call("--status", status, "--since", "10m") if status in (414, 431, 501, 505) else None


@pytest.mark.parametrize("kind", ["gunicorn-sync", "uvicorn-httptools", "waitress", "uwsgi"])
def test_a_guarded_path_is_guarded_however_it_is_written(start_gateway, server, kind):
    """Python servers decode a path before the application looks at it: `%2F` must lead past no rule."""
    gateway = start_gateway(
        config=f"""
services:
  - name: shop
    to: {server(kind).url}
    routes:
      - paths: [/_/*]
        policies: [{{ api-key: {{}} }}]
      - paths: [/*]
consumers: [{{ name: alice, api-keys: [a-long-key-of-alices] }}]
"""
    )
    for target in ["/_/digest", "/_%2Fdigest", "//_/digest", "/x/..%2F_%2Fdigest", "/_%5Cdigest"]:
        assert send(gateway.port, Request(target=target)).status == 401, target
        allowed = Request(target=target, headers=(("X-API-Key", "a-long-key-of-alices"),))
        assert send(gateway.port, allowed).status != 401, target
    assert send(gateway.port, Request(target="/a%2Fb")).status == 200
