"""The application sets Content-Length twice: Envoy refuses the answer."""

CAUSE = "duplicate-content-length"

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "3"), ("Content-Length", "4")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.envoy()
    lab.gunicorn(app=APP)
    lab.get("/", (502, 503), times=3)
