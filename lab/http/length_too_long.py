"""The application announces more bytes than it sends."""

CAUSE = "content-length-too-long"

APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"200000")]})
    await send({"type": "http.response.body", "body": b"x" * 100000})
"""


def run(lab):
    lab.nginx()
    lab.uvicorn(app=APP)
    lab.get("/", "truncated", times=3)
    lab.saw("nginx/error.log", "while reading upstream")
