"""There is no route to the network of the application."""

CAUSE = "route-missing"


def run(lab):
    lab.nginx(to="192.0.2.7:8000")
    lab.get("/", 502, times=3)
    lab.saw("nginx/error.log", "(101: ")
