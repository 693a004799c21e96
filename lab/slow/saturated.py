"""All workers wait for the same slow thing, and others wait for a worker."""

CAUSE = "workers-saturated"


def run(lab):
    lab.nginx(location="proxy_read_timeout 3s;")
    lab.gunicorn("--workers", 2, "--timeout", 120)
    lab.hold(2)
    lab.load("/", every=0.1, concurrent=4)
    lab.get("/", 504, times=2)
