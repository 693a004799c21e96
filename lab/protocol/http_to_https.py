"""nginx speaks plain HTTP to a Gunicorn that has a certificate."""

CAUSE = "http-to-https-upstream"


def run(lab):
    cert, key = lab.certificate()
    lab.nginx()
    lab.gunicorn("--certfile", cert, "--keyfile", key)
    lab.get("/", 502, times=3)
