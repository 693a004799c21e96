"""The application refuses a large upload without reading it, and closes: Caddy loses the answer."""

CAUSE = "early-response-unread-body"
URL = "http://shop.example/upload"

APP = """
def app(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        start_response("413 Content Too Large", [("Content-Length", "8")])
        return [b"too big\\n"]
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    from harness import LOGS

    lab.caddy()
    lab.gunicorn("--access-logfile", "/var/log/gunicorn-access.log", app=APP, user=None)
    # Whether the answer or the end of the connection comes first is chance.
    for _ in range(60):
        if lab.get("/upload", (502, 413, "closed"), method="POST", body=b"x" * 8_000_000) == 502:
            break
        if '"status":502' in (LOGS / "caddy.log").read_text() if lab.without != "proxy-logs" else False:
            break
    lab.saw("caddy.log", '"status":502')
