"""A service that the application calls answers 429; the error is an OSError, for which Gunicorn closes the connection."""

CAUSE = "dep-http-429-5xx"
CONSEQUENCES = ("wsgi-oserror-escape",)

APP = """
import requests

def app(environ, start_response):
    requests.get("http://127.0.0.1:9100/prices", timeout=2).raise_for_status()
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""

OTHER = """
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(429)

http.server.ThreadingHTTPServer(("127.0.0.1", 9100), Handler).serve_forever()
"""


def run(lab):
    from harness import VENV, accepts, until

    lab.file("prices.py", OTHER)
    lab.start([VENV / "bin/python", "prices.py"], log="prices.log")
    until(lambda: accepts(9100), "the service")
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 502, times=3)
    lab.saw("gunicorn.log", "429 Client Error")
