"""The only Uvicorn process is killed, and nobody starts it again."""

import signal

CAUSE = "uvicorn-single-process-died"


def run(lab):
    lab.caddy()
    server = lab.uvicorn()
    lab.get("/", 200)
    server.kill(signal.SIGKILL)
    lab.get("/", 502, times=3)
