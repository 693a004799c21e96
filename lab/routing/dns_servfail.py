"""The name server fails to answer."""

CAUSE = "dns-servfail"


def run(lab):
    lab.dns({"app.internal": "servfail"})
    lab.nginx(server="resolver 127.0.0.1 ipv6=off; set $target app.internal;", to="$target:8000")
    lab.gunicorn()
    lab.get("/", 502, times=3)
