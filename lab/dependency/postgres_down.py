"""PostgreSQL has stopped: views fail with 500."""

CAUSE = "dep-postgres-down"

APP = """
import psycopg2

def app(environ, start_response):
    psycopg2.connect(host="127.0.0.1", user="shop", dbname="shop").close()
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    database = lab.postgres()
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 200)
    database.kill()
    lab.get("/", 500, times=3)
