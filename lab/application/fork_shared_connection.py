"""A database connection that was made before the workers were forked is used by all of them."""

CAUSE = "fork-unsafe-connection"

APP = """
import psycopg2

connection = psycopg2.connect(host="127.0.0.1", user="shop", dbname="shop")
connection.autocommit = True

def app(environ, start_response):
    with connection.cursor() as cursor:
        cursor.execute("SELECT repeat('x', 20000), pg_sleep(0.02)")
        cursor.fetchall()
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    import threading
    import time

    lab.postgres()
    lab.nginx()
    lab.gunicorn("--preload", "--workers", 4, app=APP)
    statuses = []
    deadline = time.monotonic() + 20
    while not any(status in (500, 502) for status in statuses) and time.monotonic() < deadline:
        threads = [threading.Thread(target=lambda: statuses.append(lab.get("/"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lab.prove(any(status in (500, 502) for status in statuses), f"{set(statuses)}")
