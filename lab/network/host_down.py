"""The machine of the application is off."""

CAUSE = "host-down"


def run(lab):
    lab.peer()
    lab.nginx(to="10.1.0.99:8000", location="proxy_connect_timeout 10s;")
    lab.get("/", (502, 504), times=2)
    lab.saw("nginx/error.log", "(113: ")
