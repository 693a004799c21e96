"""A transaction that was left open holds a lock that all requests wait for."""

CAUSE = "dep-db-lock-wait"
CONSEQUENCES = ("workers-saturated",)

APP = """
import psycopg2

def app(environ, start_response):
    connection = psycopg2.connect(host="127.0.0.1", user="shop", dbname="shop")
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE goods SET name = 'coffee' WHERE id = 1")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.postgres()
    lab.nginx(location="proxy_read_timeout 2s;")
    lab.gunicorn("--workers", 2, "--timeout", 120, app=APP)
    lab.get("/", 200)
    lock = "BEGIN; UPDATE goods SET name = 'x' WHERE id = 1; SELECT pg_sleep(300)"
    lab.start(["psql", "-h", "127.0.0.1", "-U", "shop", "-d", "shop", "-c", lock], log="report.out")
    import time

    time.sleep(0.5)
    lab.load("/", every=0.1, concurrent=6)
    lab.get("/", 504, times=2)
