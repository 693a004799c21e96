"""nginx speaks TLS to a Gunicorn without a certificate."""

CAUSE = "https-to-http-upstream"


def run(lab):
    lab.nginx(scheme="https")
    lab.gunicorn()
    lab.get("/", 502, times=3)
