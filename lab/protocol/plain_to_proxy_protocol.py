"""nginx expects the PROXY protocol, and clients do not send it."""

CAUSE = "plain-to-proxy-protocol"


def run(lab):
    lab.nginx(listen="80 proxy_protocol")
    from harness import accepts, until

    until(lambda: accepts(80), "nginx")
    lab.gunicorn()
    lab.get("/", "closed", times=3)
    lab.saw("nginx/error.log", "broken header")
