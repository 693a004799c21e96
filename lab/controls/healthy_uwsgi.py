"""Control: a healthy chain of Apache and uWSGI."""

CAUSE = None


def run(lab):
    lab.apache(scheme="uwsgi")
    lab.uwsgi("socket = 127.0.0.1:8000")
    lab.get("/", 200, times=20)
