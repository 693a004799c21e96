"""Control: Envoy before Uvicorn, with slow but good answers."""

CAUSE = None


APP = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""


def run(lab):
    lab.envoy()
    lab.uvicorn(app=APP)
    lab.load("/", every=0.05, concurrent=4)
    lab.get("/", 200, times=5)
