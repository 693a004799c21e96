"""Control: a healthy chain under load."""

CAUSE = None


def run(lab):
    import time

    lab.nginx()
    lab.gunicorn("--workers", 2)
    lab.load("/", every=0.01, concurrent=2)
    time.sleep(1.5)
    lab.get("/", 200, times=20)
