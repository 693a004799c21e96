"""Every request runs a query that takes longer than nginx waits."""

CAUSE = "dep-db-slow-query"

APP = """
import psycopg2

def app(environ, start_response):
    connection = psycopg2.connect(host="127.0.0.1", user="shop", dbname="shop")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM generate_series(1, 2000000000)")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.postgres()
    lab.nginx(location="proxy_read_timeout 2s;")
    lab.gunicorn("--workers", 2, "--timeout", 120, app=APP)
    lab.load("/", every=0.1, concurrent=2)
    lab.get("/", 504, times=2)
