"""Redis is down, and the application lets the error through: Gunicorn closes without an answer."""

CAUSE = "wsgi-oserror-escape"
ALSO_RIGHT = ("dep-redis-down",)

APP = """
import socket

def app(environ, start_response):
    socket.create_connection(("127.0.0.1", 6379))
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 502, times=3)
