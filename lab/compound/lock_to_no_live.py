"""A lock in the database holds all workers; the queue fills up, and nginx takes both addresses out."""

CAUSE = "dep-db-lock-wait"
CONSEQUENCES = ("workers-saturated", "no-live-upstreams")

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
    import time

    lab.postgres()
    lab.nginx(upstream="server 127.0.0.1:8000; server 127.0.0.1:8001;", location="proxy_read_timeout 2s;")
    lab.gunicorn("--workers", 1, "--timeout", 120, app=APP)
    lab.gunicorn("--workers", 1, "--timeout", 120, app=APP, bind="127.0.0.1:8001")
    lab.get("/", 200, times=2)
    lock = "BEGIN; UPDATE goods SET name = 'x' WHERE id = 1; SELECT pg_sleep(300)"
    lab.start(["psql", "-h", "127.0.0.1", "-U", "shop", "-d", "shop", "-c", lock], log="report.out")
    time.sleep(0.5)
    lab.load("/", every=0.1, concurrent=6)
    lab.saw("nginx/error.log", "no live upstreams")
