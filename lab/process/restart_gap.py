"""A restart with a second in which nobody listens, while requests go on."""

import time

CAUSE = "restart-gap"


def run(lab):
    lab.nginx()
    server = lab.gunicorn()
    lab.load("/", every=0.05)
    lab.get("/", 200)
    server.kill()
    lab.get("/", 502)
    time.sleep(1)
    lab.gunicorn()
    lab.get("/", 200)
