"""A call that blocks in an async function: nobody is served."""

CAUSE = "asgi-event-loop-blocked"

APP = """
import time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return
    if scope["path"] == "/report":
        time.sleep(60)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""


def run(lab):
    lab.nginx(location="proxy_read_timeout 2s;")
    lab.uvicorn(app=APP)
    lab.get("/", 200)
    lab.hold(1, "/report")
    lab.get("/", 504, times=2)
