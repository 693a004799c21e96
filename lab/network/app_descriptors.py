"""The server has no descriptors left for connections."""

CAUSE = "fd-limit-app"


def run(lab):
    import time

    lab.nginx(location="proxy_read_timeout 2s;")
    lab.uvicorn(prefix=["prlimit", "--nofile=24"], user=None)
    lab.get("/", 200)
    lab.hold(20, port=8000)
    time.sleep(0.5)
    lab.get("/", (502, 504), times=2)
