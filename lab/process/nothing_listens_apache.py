"""Uvicorn has stopped behind Apache, which answers 503."""

CAUSE = "upstream-not-running"


def run(lab):
    lab.apache()
    server = lab.uvicorn()
    lab.get("/", 200)
    server.kill()
    lab.get("/", 503, times=3)
