"""Uvicorn listens only after the application's start-up, which takes long."""

CAUSE = "startup-slow-not-ready"

APP = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await asyncio.sleep(120)
        await send({"type": "lifespan.startup.complete"})
"""


def run(lab):
    lab.nginx()
    lab.uvicorn(app=APP, ready=lambda server: "Waiting for application startup" in server.output() or lab.without == "server-logs")
    lab.get("/", 502, times=3)
