"""An exception leaves the application under uWSGI: the connection is closed without an answer."""

CAUSE = "uwsgi-unhandled-exception"

APP = """
def app(environ, start_response):
    return {}["price"]
"""


def run(lab):
    lab.nginx(scheme="uwsgi")
    lab.uwsgi("socket = 127.0.0.1:8000", app=APP)
    lab.get("/", 502, times=3)
    lab.saw("uwsgi.log", "KeyError")
