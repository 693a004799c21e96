"""The same request, sent to each Python server directly and through Clearway: the application must see the same.

Clearway forwards one canonical form of the path and frames the body anew, so the direct request is written in that
form; everything else must arrive as it was sent.
"""

import base64
import json
from dataclasses import dataclass

import pytest

from rawhttp import Request, Response, send
from servers import SERVERS

#: What Clearway adds to a request.
ADDED = {
    "forwarded",
    "traceparent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
}

#: Headers about one connection or the framing of one message.
HOP_BY_HOP = {"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding"}


@dataclass(frozen=True)
class Case:
    sent: Request
    #: What it amounts to; without, it is sent directly as it is.
    plain: Request | None = None


def path(sent: str, forwarded: str | None = None) -> Case:
    return Case(Request(target=sent), Request(target=forwarded) if forwarded else None)


BODY = bytes(range(256)) * 40
POST = Request("POST", "/items", body=BODY)

CASES = {
    # Paths that stay as they are.
    "root": path("/"),
    "plain path": path("/items/17"),
    "trailing slash": path("/items/"),
    "encoded slash": path("/a%2Fb"),
    "encoded slash in lower case": path("/a%2fb", "/a%2Fb"),
    "encoded backslash": path("/a%5Cb"),
    "double slash": path("/a//b"),
    "leading double slash": path("//a/b"),
    "path parameter": path("/a;v=1/b"),
    "encoded space": path("/a%20b"),
    "encoded percent": path("/100%25"),
    "encoded question mark": path("/a%3Fb"),
    "utf-8": path("/caf%C3%A9"),
    "not utf-8": path("/caf%E9"),
    "plus": path("/a+b"),
    "sub-delimiters": path("/a!$&'()*,=:@b"),
    # Paths that mean the same in canonical form.
    "encoded unreserved": path("/%7Euser/%61", "/~user/a"),
    "dot segments": path("/a/./b/../c", "/a/c"),
    "encoded dot segments": path("/a/%2E%2e/c", "/c"),
    "dots above the root": path("/../../a", "/a"),
    # Queries are never touched.
    "query": path("/q?a=1&b=2&a=3"),
    "empty query": path("/q?"),
    "encoded query": path("/q?a=%2F%26%3d&b=%7E"),
    "question mark in query": path("/q?a?b=/../c"),
    "semicolon in query": path("/q?a=1;b=2"),
    # Methods.
    "DELETE": Case(Request("DELETE", "/items/1")),
    "OPTIONS": Case(Request("OPTIONS", "/items")),
    "PUT": Case(Request("PUT", "/items/1", body=b"{}")),
    "PATCH": Case(Request("PATCH", "/items/1", body=b"{}")),
    # Headers.
    "repeated header": Case(Request(headers=(("X-List", "a"), ("X-List", "b")))),
    "empty header": Case(Request(headers=(("X-Empty", ""),))),
    "odd spelling": Case(Request(headers=(("x-oDD-SPELLing", "Value"),))),
    "long header": Case(Request(headers=(("X-Long", "v" * 6000),))),
    "many headers": Case(Request(headers=tuple((f"X-Number-{n}", str(n)) for n in range(80)))),
    "cookies": Case(Request(headers=(("Cookie", "a=1; b=\"2\"; c=3=3"),))),
    "authorization": Case(Request(headers=(("Authorization", "Basic dTpw"),))),
    "underscore": Case(
        Request(headers=(("X_Forwarded_For", "10.0.0.1"), ("X-Kept", "1"))),
        Request(headers=(("X-Kept", "1"),)),
    ),
    "forged forwarding headers": Case(
        Request(headers=(("X-Forwarded-For", "10.0.0.1"), ("Forwarded", "for=10.0.0.1"))),
        Request(),
    ),
    "named by Connection": Case(
        Request(headers=(("Connection", "X-Hop"), ("X-Hop", "1"), ("X-Kept", "1"))),
        Request(headers=(("X-Kept", "1"),)),
    ),
    "white space around a value": Case(
        Request(headers=(("X-Space", " \t padded \t "),)),
        Request(headers=(("X-Space", "padded"),)),
    ),
    "absolute form": Case(Request(target="http://shop.test/items?a=1"), Request(target="/items?a=1")),
    # Bodies.
    "body": Case(POST.with_(headers=(("Content-Type", "application/octet-stream"),))),
    "empty body": Case(POST.with_(body=b"")),
    "body of a GET": Case(POST.with_(method="GET", body=b"{}")),
    "chunked": Case(POST.with_(chunks=(1, 255, 9984)), POST),
    "chunked with trailers": Case(POST.with_(chunks=(10240,), trailers=(("X-Trailer", "1"),)), POST),
    "chunked and empty": Case(POST.with_(body=b"", chunks=(0,)), POST.with_(body=b"")),
    "expect continue": Case(POST.with_(headers=(("Expect", "100-continue"),)), POST),
    # HTTP/1.0.
    "HTTP/1.0": Case(Request(version="1.0"), Request()),
    "HTTP/1.0 with a body": Case(POST.with_(version="1.0"), POST),
}


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_application_sees_the_same(server, through, name, case):
    direct = send(server(name).port, case.plain or case.sent)
    proxied = send(through(name).port, case.sent)
    assert proxied.status == direct.status, proxied
    if direct.status != 200:
        # A server that refuses a request refuses it through Clearway too.
        return
    compare(seen(direct), seen(proxied))


def compare(direct: dict, proxied: dict):
    for part in ("method", "raw_path", "path", "query", "body"):
        assert proxied[part] == direct[part], part
    assert end_to_end(proxied, without=ADDED) == end_to_end(direct)
    added = {name: value for name, value in proxied["headers"] if name in ADDED}
    assert added["x-forwarded-for"] == "127.0.0.1"
    assert added["x-forwarded-proto"] == "http"
    assert added["x-request-id"]


def seen(response: Response) -> dict:
    found = json.loads(response.body)
    found["body"] = base64.b64decode(found["body"])
    return found


def end_to_end(request: dict, without: set[str] = frozenset()) -> list[list[str]]:
    left = [[name, value] for name, value in request["headers"] if name not in HOP_BY_HOP | without]
    # Order matters between headers of one name only.
    return sorted(left, key=lambda header: header[0])
