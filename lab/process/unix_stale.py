"""The Unix socket is left over from a server that was killed."""

import signal

CAUSE = "stale-unix-socket"


def run(lab):
    lab.nginx(to="unix:/run/shop.sock")
    server = lab.gunicorn(bind="unix:/run/shop.sock")
    lab.get("/", 200)
    workers = server.children()
    server.kill(signal.SIGKILL)
    for pid in workers:
        lab.command("kill", "-9", pid)
    lab.get("/", 502, times=3)
    lab.saw("nginx/error.log", "(111: Connection refused)")
