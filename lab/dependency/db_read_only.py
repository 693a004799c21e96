"""The application writes to a database that only lets itself be read."""

CAUSE = "dep-db-readonly"

APP = """
import psycopg2

def app(environ, start_response):
    connection = psycopg2.connect(host="127.0.0.1", user="shop", dbname="shop")
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE goods SET name = 'coffee'")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.postgres()
    lab.sql("ALTER DATABASE shop SET default_transaction_read_only = on")
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 500, times=3)
    lab.saw("gunicorn.log", "read-only transaction")
