"""Applications that write down every request they execute, as WSGI (`wsgi`) and ASGI (`asgi`)."""

import os
import time


def note(request_id: str):
    """One line per execution; a short append is written whole even if several workers write."""
    with open(os.environ["EXECUTED"], "ab", buffering=0) as file:
        file.write(f"{request_id}\n".encode())


def wsgi(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    note(environ.get("HTTP_X_TEST_ID", "-"))
    time.sleep(float(environ.get("HTTP_X_TEST_TAKES", 0)))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    note(dict(scope["headers"]).get(b"x-test-id", b"-").decode())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
