"""A small FastAPI application with what is hard to proxy: slow answers, server-sent events, WebSockets."""

import asyncio
import os

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

app = FastAPI(title="shop")


@app.get("/")
async def index():
    return {"service": "shop", "worker": os.getpid()}


@app.post("/slow")
async def slow(request: Request, seconds: float = 10):
    """Takes its time, so that you can kill the worker meanwhile."""
    size_bytes = len(await request.body())
    await asyncio.sleep(seconds)
    return {"slept_seconds": seconds, "body_bytes": size_bytes, "worker": os.getpid()}


@app.get("/events")
async def events(count: int = 10, seconds: float = 1):
    """Server-sent events; each must reach the client when it is sent, not when the next one is."""

    async def stream():
        for number in range(count):
            yield f"id: {number}\ndata: tick {number}\n\n"
            await asyncio.sleep(seconds)

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.websocket("/echo")
async def echo(socket: WebSocket):
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass
