"""Gunicorn has stopped behind nginx."""

CAUSE = "upstream-not-running"


def run(lab):
    lab.nginx()
    server = lab.gunicorn()
    lab.get("/", 200)
    server.kill()
    lab.get("/", 502, times=3)
    lab.saw("nginx/error.log", "(111: Connection refused)")
