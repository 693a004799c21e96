"""Control: a plain 500 of the application."""

CAUSE = None
URL = "http://shop.example/pay"

APP = """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/pay":
        raise ValueError("no such currency")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 200, times=10)
    lab.get("/pay", 500, times=2)
