"""The same behind Envoy and Uvicorn."""

CAUSE = "app-slow-endpoint"
URL = "http://shop.example/slow"


def run(lab):
    lab.envoy(timeout="2s")
    lab.uvicorn()
    lab.get("/slow", 504, times=2)
