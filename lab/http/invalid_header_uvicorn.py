"""A header with a line break: Uvicorn drops the connection."""

CAUSE = "invalid-response-header"

APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    headers = [(b"x-note", b"first\\r\\nsecond"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})
"""


def run(lab):
    lab.nginx()
    lab.uvicorn(app=APP)
    lab.get("/", (500, 502), times=3)
