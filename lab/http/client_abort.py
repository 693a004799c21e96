"""Clients give up before the answer comes."""

CAUSE = "client-abort"
URL = "http://shop.example/report"

APP = """
import time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/report":
        time.sleep(1.5)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.nginx()
    lab.gunicorn("--worker-class", "gthread", "--threads", 8, app=APP)
    for _ in range(4):
        lab.get("/report", "timeout", timeout=0.5)
    lab.saw("nginx/access.log", " 499 ")
