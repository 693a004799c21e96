"""nginx has no connections left."""

CAUSE = "worker-connections-exhausted"


def run(lab):
    import time

    lab.nginx(events="worker_connections 12;", location="proxy_read_timeout 60s;")
    lab.gunicorn("--worker-class", "gthread", "--threads", 32, "--timeout", 120)
    lab.get("/", 200)
    lab.hold(8)
    time.sleep(0.5)
    lab.saw("nginx/error.log", "worker_connections are not enough")
