"""The application under uWSGI answers without start_response."""

CAUSE = "app-never-started-response"

APP = """
def app(environ, start_response):
    return [b"ok\\n"]
"""


def run(lab):
    lab.haproxy()
    lab.uwsgi("http-socket = 127.0.0.1:8000", app=APP)
    lab.get("/", 502, times=3)
