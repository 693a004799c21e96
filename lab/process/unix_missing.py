"""The Unix socket that nginx sends to does not exist."""

CAUSE = "unix-socket-missing"


def run(lab):
    lab.nginx(to="unix:/run/shop.sock")
    lab.gunicorn(bind="unix:/run/app.sock")
    lab.get("/", 502, times=3)
