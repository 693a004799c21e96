"""The same behind Apache, which answers 502."""

CAUSE = "app-slow-endpoint"
URL = "http://shop.example/slow"


def run(lab):
    lab.apache(location="timeout=2")
    lab.gunicorn("--worker-class", "gthread", "--threads", 8, "--timeout", 120)
    lab.get("/slow", (502, 504), times=2)
