"""The application for ASGI servers, without a framework, so that nothing stands between the server and the report."""

import asyncio
import os

import seen


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await websocket(scope, receive, send)
    else:
        await request(scope, receive, send)


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def request(scope, receive, send):
    parameters = seen.parameters(scope["query_string"].decode("latin-1"))
    name = scope["path"].removeprefix("/_/")
    special = SPECIAL.get(name) if scope["path"].startswith("/_/") else None
    await (special or report)(scope, receive, send, parameters)


async def body_of(receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            seen.say("client is gone")
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def answer(send, body: bytes, status=200, headers=((b"content-type", b"application/json"),)):
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def report(scope, receive, send, _parameters):
    body = await body_of(receive)
    raw_path = scope.get("raw_path")
    text = seen.report(
        method=scope["method"],
        path=scope["path"],
        # Some servers put the query into it, against the specification.
        raw_path=raw_path and raw_path.decode("latin-1").split("?")[0],
        query=scope["query_string"].decode("latin-1"),
        headers=[[name.decode("latin-1").lower(), value.decode("latin-1")] for name, value in scope["headers"]],
        body=body,
        version=scope["http_version"],
    )
    await answer(send, text)


async def sized(_scope, receive, send, parameters):
    """`bytes` bytes with a content-length."""
    await body_of(receive)
    await answer(send, b"x" * int(parameters["bytes"]), headers=[(b"content-type", b"text/plain")])


async def upload(_scope, receive, send, _parameters):
    """Length and SHA-256 of the body."""
    await answer(send, seen.digest(await body_of(receive)))


async def held(_scope, receive, send, parameters):
    """Reads the body, then waits for the test's permission."""
    await body_of(receive)
    await seen.hold_async(parameters["token"])
    await answer(send, b'{"held": true}')


async def stream(_scope, receive, send, parameters):
    """`count` parts without a content-length; each waits for the test's permission (`token` and its number)."""
    await body_of(receive)
    kind = parameters.get("type", "text/plain").encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    for number in range(int(parameters["count"])):
        if "token" in parameters:
            await seen.hold_async(f"{parameters['token']}-{number}")
        part = f"data: {number}\n\n".encode()
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def early(scope, receive, send, _parameters):
    """Answers before it reads the body."""
    await answer(send, b'{"early": true}', status=413)


async def status(_scope, receive, send, parameters):
    await body_of(receive)
    body = b"" if parameters["status"] in ("204", "304") else b"{}"
    headers = [(b"content-type", b"application/json"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    await answer(send, body, status=int(parameters["status"]), headers=headers)


async def broken(_scope, receive, send, parameters):
    """Promises more than it sends, then its process ends."""
    await body_of(receive)
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    await seen.hold_async(parameters["token"])
    os._exit(1)


async def gone(_scope, receive, send, parameters):
    """Waits until the client is gone, and says so."""
    await body_of(receive)
    seen.say(f"holding {parameters['token']}")
    while (await receive())["type"] != "http.disconnect":
        await asyncio.sleep(0)
    seen.say(f"gone {parameters['token']}")


SPECIAL = {
    "broken": broken,
    "early": early,
    "gone": gone,
    "held": held,
    "sized": sized,
    "status": status,
    "stream": stream,
    "upload": upload,
}


async def websocket(scope, receive, send):
    """Echoes. `/_/refuse` answers 403; the first subprotocol offered is taken."""
    await receive()
    if scope["path"] == "/_/refuse":
        await send({"type": "websocket.close"})
        return
    offered = scope.get("subprotocols") or [None]
    await send({"type": "websocket.accept", "subprotocol": offered[0]})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            seen.say(f"disconnect {message.get('code')}")
            return
        if message.get("text") == "close me":
            await send({"type": "websocket.close", "code": 4001, "reason": "as you wish"})
            return
        kept = {key: message[key] for key in ("bytes", "text") if message.get(key) is not None}
        await send({"type": "websocket.send", **kept})
