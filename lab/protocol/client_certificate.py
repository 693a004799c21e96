"""The server wants a certificate from nginx."""

CAUSE = "mtls-client-cert-missing"


def run(lab):
    cert, key = lab.certificate()
    lab.nginx(scheme="https")
    lab.gunicorn("--certfile", cert, "--keyfile", key, "--ca-certs", cert, "--cert-reqs", "2")
    lab.get("/", 502, times=3)
