"""Somebody kills a worker by hand."""

import os
import signal
import threading
import time

CAUSE = "manual-or-external-kill"
PIDS = "host"
URL = "http://shop.example/slow"


def run(lab):
    lab.nginx(location="proxy_read_timeout 30s;")
    server = lab.gunicorn()
    lab.get("/", 200)
    statuses = []
    asking = threading.Thread(target=lambda: statuses.append(lab.get("/slow")))
    asking.start()
    time.sleep(0.5)
    os.kill(server.children()[0], signal.SIGKILL)
    asking.join()
    lab.prove(statuses == [502], f"{statuses}")
    lab.saw("gunicorn.log", "SIGKILL")
