"""The server is bound to the loopback address of its own network namespace."""

CAUSE = "bind-loopback-in-container"


def run(lab):
    inside = lab.peer()
    lab.nginx(to="10.1.0.2:8000")
    server = lab.gunicorn(prefix=inside, user=None, ready=lambda server: "Listening at" in server.output() or lab.without == "server-logs")
    assert server.runs()
    lab.get("/", 502, times=3)
