"""A long query is more than Gunicorn takes."""

CAUSE = "request-line-too-long"


def run(lab):
    lab.nginx()
    lab.gunicorn()
    lab.get("/?q=" + "x" * 5000, (400, 414), times=3)
    lab.saw("gunicorn.log", "Request Line is too large")
