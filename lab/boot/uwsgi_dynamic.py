"""uWSGI serves without an application, because it could not be loaded."""

CAUSE = "uwsgi-dynamic-mode"


def run(lab):
    lab.nginx(scheme="uwsgi")
    lab.uwsgi("socket = 127.0.0.1:8000", app="import shop_pricing\n")
    lab.get("/", 500, times=3)
    lab.saw("uwsgi.log", "no python application found")
