"""HAProxy lets one request at a time through, and others wait too long."""

CAUSE = "maxconn-queue-timeout"


def run(lab):
    import time

    lab.haproxy("s1 127.0.0.1:8000 maxconn 1", defaults="timeout queue 1s\n    timeout server 60s")
    lab.gunicorn("--worker-class", "gthread", "--threads", 8, "--timeout", 120)
    lab.get("/", 200)
    lab.hold(1)
    time.sleep(0.3)
    lab.get("/", 503, times=2)
    lab.saw("haproxy.log", " sQ-- ")
