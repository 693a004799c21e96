"""An HTTP service that the application calls never answers, and the call has no limit."""

CAUSE = "dep-http-no-timeout"

APP = """
import requests

def app(environ, start_response):
    requests.get("http://127.0.0.1:9100/prices")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    import socket

    lab.silent = socket.create_server(("127.0.0.1", 9100))
    lab.nginx(location="proxy_read_timeout 2s;")
    lab.gunicorn("--workers", 2, "--timeout", 120, app=APP)
    lab.load("/", every=0.1, concurrent=4)
    lab.get("/", 504, times=2)
