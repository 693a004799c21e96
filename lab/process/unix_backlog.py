"""All workers are busy and the queue of the Unix socket is full."""

CAUSE = "workers-saturated"
CONSEQUENCES = ("unix-backlog-overflow",)


def run(lab):
    lab.nginx(to="unix:/run/shop.sock", location="proxy_read_timeout 60s;")
    lab.gunicorn("--backlog", "2", "--timeout", "120", bind="unix:/run/shop.sock")
    lab.hold(8)
    lab.saw("nginx/error.log", "(11: Resource temporarily unavailable)")
