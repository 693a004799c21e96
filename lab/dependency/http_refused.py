"""An HTTP service that the application calls does not run."""

CAUSE = "dep-http-refused"

APP = """
import requests

def app(environ, start_response):
    requests.get("http://127.0.0.1:9100/prices", timeout=2)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", (500, 502), times=3)
