"""An upload is larger than nginx takes."""

CAUSE = "body-too-large"


def run(lab):
    lab.nginx()
    lab.gunicorn()
    lab.get("/upload", (413, "closed"), method="POST", body=b"x" * 2_000_000, times=2)
    lab.saw("nginx/error.log", "too large body")
