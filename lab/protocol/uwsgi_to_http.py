"""nginx speaks uwsgi to a port that serves HTTP."""

CAUSE = "http-socket-vs-uwsgi-pass"


def run(lab):
    lab.nginx(scheme="uwsgi", location="uwsgi_read_timeout 2s;")
    lab.uwsgi("http-socket = 127.0.0.1:8000")
    lab.get("/", (502, 504), times=2)
