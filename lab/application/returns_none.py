"""A view returns None."""

CAUSE = "app-returns-none"

APP = """
def app(environ, start_response):
    start_response("200 OK", [])
"""


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", (500, 502), times=3)
