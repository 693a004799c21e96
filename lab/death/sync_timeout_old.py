"""A request takes longer than `timeout` of an old Gunicorn: the worker is killed and nothing answered."""

CAUSE = "gunicorn-timeout-kill-sync-old"
URL = "http://shop.example/slow"


def run(lab):
    lab.nginx(location="proxy_read_timeout 30s;")
    lab.gunicorn("--timeout", 2, version="20.1.0")
    lab.get("/slow", 502)
    lab.saw("gunicorn.log", "WORKER TIMEOUT")
