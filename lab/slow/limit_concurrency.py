"""Uvicorn refuses requests above its limit with 503."""

CAUSE = "uvicorn-limit-concurrency"


def run(lab):
    lab.nginx(location="proxy_read_timeout 60s;")
    lab.uvicorn("--limit-concurrency", 2)
    lab.hold(2)
    import time

    time.sleep(0.3)
    lab.get("/", 503, times=2)
