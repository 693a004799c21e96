"""nginx was not started again, because a name in its configuration does not resolve."""

CAUSE = "dns-start-failure"


def run(lab):
    lab.dns({"app.internal": "nxdomain"})
    from harness import until

    lab.gunicorn()
    nginx = lab.nginx(to="app.internal:8000", listen="81")
    until(lambda: not nginx.runs(), "nginx to give up")
    lab.get("/", "refused")
