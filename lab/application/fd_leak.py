"""The application opens files and never closes them, until there are no descriptors left."""

CAUSE = "fd-leak"

APP = """
kept = []

def app(environ, start_response):
    for _ in range(10):
        kept.append(open("/etc/hostname"))
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP, prefix=["prlimit", "--nofile=64"], user=None)
    from harness import until

    until(lambda: lab.get("/") == 502, "a 502")
    lab.get("/", (500, 502, 504), times=3)
