"""The application ends its own worker."""

CAUSE = "app-os-exit"

APP = """
import os

def app(environ, start_response):
    if environ["PATH_INFO"] == "/pay":
        os._exit(1)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""

URL = "http://shop.example/pay"


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/pay", 502, times=2)
    lab.saw("gunicorn.log", "exited with code 1")
