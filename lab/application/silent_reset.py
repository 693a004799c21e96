"""A ConnectionResetError of a dependency leaves the application: Gunicorn says nothing and closes."""

CAUSE = "wsgi-connreset-silent"

APP = """
def app(environ, start_response):
    raise ConnectionResetError(104, "Connection reset by peer")
"""


def run(lab):
    lab.nginx()
    lab.gunicorn("--log-level", "debug", app=APP)
    lab.get("/", 502, times=3)
    lab.saw("gunicorn.log", "Ignoring")
