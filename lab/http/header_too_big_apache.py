"""The head of the answer is larger than Apache takes."""

CAUSE = "header-too-big-response"

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "3"), ("Set-Cookie", "cart=" + "x" * 9000)])
    return [b"ok\\n"]
"""


def run(lab):
    lab.apache()
    lab.gunicorn(app=APP)
    lab.get("/", (502, 500), times=3)
