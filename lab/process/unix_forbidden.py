"""nginx's user may not connect to the Unix socket."""

CAUSE = "unix-socket-permission"


def run(lab):
    lab.nginx(to="unix:/run/shop.sock")
    lab.gunicorn("--umask", "0177", bind="unix:/run/shop.sock", user=None)
    lab.get("/", 502, times=3)
    lab.saw("nginx/error.log", "(13: Permission denied)")
