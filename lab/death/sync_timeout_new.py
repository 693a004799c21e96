"""A request takes longer than `timeout` of a new Gunicorn: the worker answers 500 and ends."""

CAUSE = "gunicorn-timeout-500"
URL = "http://shop.example/slow"


def run(lab):
    lab.nginx(location="proxy_read_timeout 30s;")
    lab.gunicorn("--timeout", 2)
    lab.get("/slow", 500)
    lab.saw("gunicorn.log", "WORKER TIMEOUT")
