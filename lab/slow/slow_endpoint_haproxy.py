"""The same behind HAProxy."""

CAUSE = "app-slow-endpoint"
URL = "http://shop.example/slow"


def run(lab):
    lab.haproxy(defaults="timeout server 2s")
    lab.uvicorn()
    lab.get("/slow", 504, times=2)
    lab.saw("haproxy.log", " sH-- ")
