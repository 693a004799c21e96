"""Gunicorn listens at another port than nginx sends to."""

CAUSE = "wrong-port-or-bind"


def run(lab):
    lab.nginx()
    lab.gunicorn(bind="127.0.0.1:8001")
    lab.get("/", 502, times=3)
