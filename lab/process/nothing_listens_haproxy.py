"""Gunicorn has stopped behind HAProxy, which answers 503."""

CAUSE = "upstream-not-running"


def run(lab):
    lab.haproxy()
    server = lab.gunicorn()
    lab.get("/", 200)
    server.kill()
    lab.get("/", 503, times=3)
    lab.saw("haproxy.log", " SC-- ")
