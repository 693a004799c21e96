"""A statement is cancelled by its limit in the database: 500."""

CAUSE = "dep-db-statement-timeout"

APP = """
import psycopg2

def app(environ, start_response):
    connection = psycopg2.connect(host="127.0.0.1", user="shop", dbname="shop", options="-c statement_timeout=200")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(5)")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.postgres()
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 500, times=3)
    lab.saw("gunicorn.log", "statement timeout")
