"""The worker ends itself while it sends an answer."""

CAUSE = "app-os-exit"
CONSEQUENCES = ("worker-died-midstream",)

APP = """
import os

def rows():
    yield b"x" * 100000
    os._exit(1)

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "200000")])
    return rows()
"""


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", "truncated", times=3)
    lab.saw("nginx/error.log", "while reading upstream")
