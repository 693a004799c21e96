"""The application passes the 502 of a service that it calls on."""

CAUSE = "upstream-says-502"

APP = """
def app(environ, start_response):
    start_response("502 Bad Gateway", [("Content-Type", "application/json"), ("Content-Length", "27")])
    return [b'{"error": "prices are down"}'[:27]]
"""


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 502, times=3)
