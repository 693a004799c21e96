"""A deploy cuts a request that runs longer than the graceful time."""

import threading
import time

CAUSE = "graceful-timeout-exceeded"
URL = "http://shop.example/slow"


def run(lab):
    lab.nginx(location="proxy_read_timeout 30s;")
    server = lab.gunicorn("--graceful-timeout", 1, "--worker-class", "gthread", "--threads", 2)
    statuses = []
    asking = threading.Thread(target=lambda: statuses.append(lab.get("/slow")))
    asking.start()
    time.sleep(0.5)
    server.kill()
    asking.join()
    lab.prove(statuses == [502], f"{statuses}")
    lab.gunicorn("--graceful-timeout", 1, "--worker-class", "gthread", "--threads", 2)
    lab.get("/", 200)
