"""nginx has no descriptors left."""

CAUSE = "fd-limit-proxy"


def run(lab):
    import time

    lab.nginx(main="worker_rlimit_nofile 24;", events="worker_connections 64;", location="proxy_read_timeout 60s;")
    lab.gunicorn("--worker-class", "gthread", "--threads", 32, "--timeout", 120)
    lab.get("/", 200)
    lab.hold(12)
    time.sleep(0.5)
    lab.saw("nginx/error.log", "(24: Too many open files)")
