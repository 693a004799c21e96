"""The name of the target does not exist."""

CAUSE = "dns-nxdomain"


def run(lab):
    lab.dns({"app.internal": "nxdomain"})
    lab.nginx(server="resolver 127.0.0.1 ipv6=off; set $target app.internal;", to="$target:8000")
    lab.gunicorn()
    lab.get("/", 502, times=3)
