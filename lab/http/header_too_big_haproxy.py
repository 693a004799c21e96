"""The head of the answer is larger than HAProxy's buffer."""

CAUSE = "header-too-big-response"

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "3"), ("Set-Cookie", "cart=" + "x" * 20000)])
    return [b"ok\\n"]
"""


def run(lab):
    lab.haproxy()
    lab.gunicorn(app=APP)
    lab.get("/", 502, times=3)
    lab.saw("haproxy.log", " PH-- ")
