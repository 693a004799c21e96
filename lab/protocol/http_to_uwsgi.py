"""nginx speaks HTTP to a uwsgi socket."""

CAUSE = "uwsgi-protocol-vs-http"


def run(lab):
    lab.nginx()
    lab.uwsgi("socket = 127.0.0.1:8000")
    lab.get("/", 502, times=3)
    lab.saw("uwsgi.log", "invalid request block size: 21573")
