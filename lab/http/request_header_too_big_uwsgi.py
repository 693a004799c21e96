"""A large cookie is more than uWSGI takes: it closes the connection."""

CAUSE = "header-too-big-request"


def run(lab):
    lab.nginx(scheme="uwsgi")
    lab.uwsgi("socket = 127.0.0.1:8000")
    lab.get("/", 200)
    lab.get("/", 502, times=3, headers={"Cookie": "cart=" + "x" * 5000})
    lab.saw("uwsgi.log", "invalid request block size")
