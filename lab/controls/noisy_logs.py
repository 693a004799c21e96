"""Control: logs full of harmless lines."""

CAUSE = None

APP = """
import logging

logging.basicConfig(level=logging.INFO)

def app(environ, start_response):
    logging.error("failed to refresh the exchange rates, using those of yesterday")
    logging.warning("connection pool is 80 percent full")
    try:
        {}["missing"]
    except KeyError:
        logging.exception("error: optional feature is off")
    status = "404 Not Found" if environ["PATH_INFO"] != "/" else "200 OK"
    start_response(status, [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.nginx()
    server = lab.gunicorn("--max-requests", 20, "--workers", 2, app=APP)
    for _ in range(25):
        lab.get("/", 200)
        lab.get("/wp-login.php", 404)
    lab.command("kill", "-HUP", server.pid)
    lab.get("/", 200, times=5)
