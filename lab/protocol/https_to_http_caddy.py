"""Caddy speaks TLS to a Uvicorn without a certificate."""

CAUSE = "https-to-http-upstream"


def run(lab):
    lab.caddy(scheme="https")
    lab.uvicorn()
    lab.get("/", 502, times=3)
