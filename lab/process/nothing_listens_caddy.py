"""Hypercorn has stopped behind Caddy."""

CAUSE = "upstream-not-running"


def run(lab):
    lab.caddy()
    server = lab.hypercorn()
    lab.get("/", 200)
    server.kill()
    lab.get("/", 502, times=3)
