"""The head of the answer does not fit into nginx's buffer."""

CAUSE = "header-too-big-response"

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "3"), ("Set-Cookie", "cart=" + "x" * 9000)])
    return [b"ok\\n"]
"""


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 502, times=3)
    lab.saw("nginx/error.log", "too big header")
