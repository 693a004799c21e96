"""The worker is stopped: the kernel accepts connections, and nobody answers."""

import os
import signal

CAUSE = "process-frozen"


def run(lab):
    lab.nginx(location="proxy_read_timeout 2s;")
    server = lab.gunicorn("--timeout", 0)
    lab.get("/", 200)
    for pid in server.children():
        os.kill(pid, signal.SIGSTOP)
    lab.get("/", 504, times=2)
