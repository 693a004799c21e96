"""A C library that gevent does not know blocks the only worker for everybody."""

CAUSE = "gevent-unpatched-block"

APP = """
import psycopg2

def app(environ, start_response):
    if environ["PATH_INFO"] == "/report":
        connection = psycopg2.connect(host="127.0.0.1", user="shop", dbname="shop")
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.postgres()
    lab.nginx(location="proxy_read_timeout 2s;")
    lab.gunicorn("--worker-class", "gevent", "--timeout", 120, app=APP)
    lab.get("/", 200)
    lab.hold(1, "/report")
    lab.get("/", 504, times=2)
