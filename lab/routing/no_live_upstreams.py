"""Both servers of a group have stopped: nginx does not try any more."""

CAUSE = "upstream-not-running"
CONSEQUENCES = ("no-live-upstreams",)


def run(lab):
    lab.nginx(upstream="server 127.0.0.1:8000; server 127.0.0.1:8001;")
    lab.get("/", 502, times=5)
    lab.saw("nginx/error.log", "no live upstreams")
