"""A generator fails after the head was sent."""

CAUSE = "stream-exception"

APP = """
def rows():
    yield b"x" * 100000
    raise AttributeError("'NoneType' object has no attribute 'name'")

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "200000")])
    return rows()
"""


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", "truncated", times=3)
    lab.saw("nginx/error.log", "while reading upstream")
