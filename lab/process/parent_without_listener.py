"""Uvicorn's parent process lives on while no worker can start."""

CAUSE = "parent-alive-no-listener"

APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "the licence could not be read"})
"""


def run(lab):
    lab.nginx()
    server = lab.uvicorn("--workers", 2, app=APP, ready=lambda server: "startup failed" in server.output().lower() or lab.without == "server-logs")
    lab.get("/", 502, times=3)
    lab.prove(server.runs(), "the parent must live")
