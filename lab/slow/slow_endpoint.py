"""One path takes longer than the proxy waits; threads answer the others at once."""

CAUSE = "app-slow-endpoint"
URL = "http://shop.example/slow"


def run(lab):
    lab.nginx(location="proxy_read_timeout 2s;")
    lab.gunicorn("--worker-class", "gthread", "--threads", 8, "--timeout", 120)
    lab.get("/slow", 504, times=2)
