"""Daphne has stopped behind Envoy, which answers 503."""

CAUSE = "upstream-not-running"


def run(lab):
    lab.envoy()
    server = lab.daphne()
    lab.get("/", 200)
    server.kill()
    lab.get("/", 503, times=3)
    lab.saw("envoy.log", "UF")
