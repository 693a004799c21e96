"""A view calls sys.exit."""

CAUSE = "app-sys-exit"

APP = """
import sys

def app(environ, start_response):
    if environ["PATH_INFO"] == "/pay":
        sys.exit(1)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""

URL = "http://shop.example/pay"


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/pay", (500, 502), times=3)
