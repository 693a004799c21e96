"""A request takes longer than uWSGI's harakiri."""

CAUSE = "uwsgi-harakiri"
URL = "http://shop.example/slow"


def run(lab):
    lab.nginx(scheme="uwsgi", location="uwsgi_read_timeout 30s;")
    lab.uwsgi("socket = 127.0.0.1:8000\nharakiri = 2")
    lab.get("/slow", 502)
    lab.saw("uwsgi.log", "HARAKIRI ON WORKER")
