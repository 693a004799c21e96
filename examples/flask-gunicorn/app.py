"""A small Flask application: a quick answer, a slow one, and one that streams."""

import os
import time

from flask import Flask, Response, jsonify, request

app = Flask(__name__)


@app.get("/")
def index():
    return jsonify(service="orders", worker=os.getpid())


@app.post("/slow")
def slow():
    """Takes its time, so that you can kill the worker meanwhile."""
    seconds = float(request.args.get("seconds", 10))
    size_bytes = len(request.get_data())
    time.sleep(seconds)
    return jsonify(slept_seconds=seconds, body_bytes=size_bytes, worker=os.getpid())


@app.get("/events")
def events():
    """Server-sent events; each must reach the client when it is sent, not when the next one is."""
    count = int(request.args.get("count", 10))
    seconds = float(request.args.get("seconds", 1))

    def stream():
        for number in range(count):
            yield f"id: {number}\ndata: tick {number}\n\n"
            time.sleep(seconds)

    return Response(stream(), mimetype="text/event-stream")
