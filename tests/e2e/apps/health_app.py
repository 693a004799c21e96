"""An application that is as well as files say, as WSGI (`wsgi`, Flask) and ASGI (`asgi`).

`WELL` names a file: while it is there, `/healthz` is answered 200, else 500. `/missing` is answered 404. While the file
`FAILING` is there, every other path is answered 500. Each answer names the instance, which is `NAME`.
"""

import os

from flask import Flask, Response

wsgi = Flask(__name__)
NAME = os.environ["NAME"]


def is_there(variable: str) -> bool:
    return os.path.exists(os.environ[variable])


def status_of(path: str) -> int:
    if path == "/healthz":
        return 200 if is_there("WELL") else 500
    if path == "/missing":
        return 404
    return 500 if is_there("FAILING") else 200


@wsgi.route("/", defaults={"path": ""})
@wsgi.route("/<path:path>")
def answer(path: str):
    return Response(NAME, status_of(f"/{path}"))


async def asgi(scope, _receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": status_of(scope["path"])})
    await send({"type": "http.response.body", "body": NAME.encode()})
