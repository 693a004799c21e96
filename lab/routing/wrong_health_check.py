"""HAProxy's health check asks for a path that the application does not have."""

CAUSE = "healthcheck-misconfigured"

APP = """
def app(environ, start_response):
    status = "404 Not Found" if environ["PATH_INFO"] == "/health" else "200 OK"
    start_response(status, [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.gunicorn(app=APP)
    lab.haproxy("s1 127.0.0.1:8000 check inter 300ms fall 2", backend="option httpchk GET /health")
    from harness import until

    until(lambda: lab.get("/") == 503, "the server to be taken out")
    lab.get("/", 503, times=3)
