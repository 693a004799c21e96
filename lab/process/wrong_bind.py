"""The server is bound to the loopback address, the proxy sends to another address of the machine."""

CAUSE = "wrong-port-or-bind"


def run(lab):
    lab.command("ip", "addr", "add", "10.9.0.1/32", "dev", "lo")
    lab.nginx(to="10.9.0.1:8000")
    lab.gunicorn()
    lab.get("/", 502, times=3)
