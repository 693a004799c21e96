"""The name server does not run."""

CAUSE = "dns-resolver-down"


def run(lab):
    lab.nginx(server="resolver 127.0.0.1:5353 ipv6=off; resolver_timeout 2s; set $target app.internal;", to="$target:8000")
    lab.gunicorn()
    lab.get("/", 502, times=2)
