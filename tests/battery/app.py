"""The application behind the proxies of the battery, as WSGI (`wsgi`) and ASGI (`asgi`).

It writes down every request that it executes: `EXECUTED` is the file, `NAME` is who it is, `TAKES` are the seconds that a
request takes. The path is the id of the request.
"""

import asyncio
import os
import time

NAME = os.environ["NAME"]
TAKES = float(os.environ["TAKES"])
_executed = os.open(os.environ["EXECUTED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def note(path: str):
    """One line with one system call: it is there even if the worker is killed right after, and is never torn."""
    os.write(_executed, f"{path.removeprefix('/')} {NAME}\n".encode())


def wsgi(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    note(environ["PATH_INFO"])
    time.sleep(TAKES)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2"), ("X-Battery-Name", NAME)])
    return [b"ok"]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    note(scope["path"])
    await asyncio.sleep(TAKES)
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2"), (b"x-battery-name", NAME.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})
