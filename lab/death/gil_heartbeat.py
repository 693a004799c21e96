"""A thread holds the interpreter's lock for so long that the worker gives no sign of life."""

CAUSE = "gunicorn-heartbeat-kill"
# What holds the lock is seen where stacks may be read, and is the deeper cause.
ALSO_RIGHT = ("gil-held-c-extension",)

APP = """
import re

def app(environ, start_response):
    if environ["PATH_INFO"] == "/search":
        re.match(r"(a+)+$", "a" * 40 + "b")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""

URL = "http://shop.example/search"


def run(lab):
    lab.nginx(location="proxy_read_timeout 30s;")
    lab.gunicorn("--worker-class", "gthread", "--threads", 4, "--timeout", 2, app=APP)
    lab.get("/", 200)
    lab.get("/search", 502)
    lab.saw("gunicorn.log", "WORKER TIMEOUT", "SIGKILL")
