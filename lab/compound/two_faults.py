"""Two independent faults: one application is down, another sends too large a head."""

CAUSE = "header-too-big-response"
ALSO_RIGHT = ("upstream-not-running",)
ROOTS = ("header-too-big-response", "upstream-not-running")
URL = "http://shop.example/"

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "3"), ("Set-Cookie", "cart=" + "x" * 9000)])
    return [b"ok\\n"]
"""


def run(lab):
    lab.nginx(locations="location /api/ { proxy_pass http://127.0.0.1:8002; }")
    lab.gunicorn(app=APP)
    lab.get("/", 502, times=3)
    lab.get("/api/", 502, times=3)
