"""The application for WSGI servers, without a framework, so that nothing stands between the server and the report."""

import seen

#: Keys of the environment that come from headers but have no HTTP_ before their name.
PLAIN = ("CONTENT_TYPE", "CONTENT_LENGTH")


def app(environ, start_response):
    path = environ.get("PATH_INFO", "")
    parameters = seen.parameters(environ.get("QUERY_STRING", ""))
    name = path.removeprefix("/_/")
    special = SPECIAL.get(name) if path.startswith("/_/") else None
    return (special or report)(environ, start_response, parameters)


def body_of(environ) -> bytes:
    length = environ.get("CONTENT_LENGTH")
    # Without a length, only servers that undo the chunked coding know where the body ends.
    if length:
        return environ["wsgi.input"].read(int(length))
    return environ["wsgi.input"].read() if environ.get("wsgi.input_terminated") else b""


def answer(start_response, body: bytes, status="200 OK", kind="application/json"):
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def report(environ, start_response, _parameters):
    headers = [
        [key.removeprefix("HTTP_").replace("_", "-").lower(), value]
        for key, value in environ.items()
        if (key.startswith("HTTP_") or key in PLAIN) and value is not None and (key not in PLAIN or value != "")
    ]
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    text = seen.report(
        method=environ["REQUEST_METHOD"],
        path=environ.get("PATH_INFO", ""),
        raw_path=raw and raw.split("?")[0],
        query=environ.get("QUERY_STRING", ""),
        headers=sorted(headers),
        body=body_of(environ),
        version=environ["SERVER_PROTOCOL"].removeprefix("HTTP/"),
    )
    return answer(start_response, text)


def sized(environ, start_response, parameters):
    """`bytes` bytes with a content-length."""
    body_of(environ)
    return answer(start_response, b"x" * int(parameters["bytes"]), kind="text/plain")


def upload(environ, start_response, _parameters):
    """Length and SHA-256 of the body."""
    return answer(start_response, seen.digest(body_of(environ)))


def held(environ, start_response, parameters):
    """Reads the body, then waits for the test's permission."""
    body_of(environ)
    seen.hold(parameters["token"])
    return answer(start_response, b'{"held": true}')


def stream(environ, start_response, parameters):
    """`count` parts without a content-length; each waits for the test's permission (`token` and its number)."""
    body_of(environ)
    start_response("200 OK", [("Content-Type", parameters.get("type", "text/plain"))])
    for number in range(int(parameters["count"])):
        if "token" in parameters:
            seen.hold(f"{parameters['token']}-{number}")
        yield f"data: {number}\n\n".encode()


SPECIAL = {"held": held, "sized": sized, "stream": stream, "upload": upload}
