"""The name server does not answer in time."""

CAUSE = "dns-timeout"


def run(lab):
    lab.dns({"app.internal": "silent"})
    lab.nginx(server="resolver 127.0.0.1 ipv6=off; resolver_timeout 2s; set $target app.internal;", to="$target:8000")
    lab.gunicorn()
    lab.get("/", 502, times=2)
