"""A transaction that was left open in MariaDB holds a lock, and statements give up waiting for it."""

CAUSE = "dep-db-lock-wait"

APP = """
import pymysql

def app(environ, start_response):
    connection = pymysql.connect(host="127.0.0.1", user="shop", password="of-today", database="shop", autocommit=True)
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE goods SET name = 'coffee' WHERE id = 1")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.mariadb("--innodb-lock-wait-timeout=1")
    lab.nginx()
    lab.gunicorn("--workers", 2, app=APP)
    lab.get("/", 200)
    lock = "BEGIN; UPDATE shop.goods SET name = 'x' WHERE id = 1; SELECT SLEEP(300)"
    lab.start(["mariadb", "--no-defaults", "--socket=/tmp/mariadb.sock", "--user=root", "-e", lock], log="report.out")
    from harness import until

    until(lambda: lab.get("/") == 500, "the lock to be taken")
    lab.get("/", 500, times=2)
    lab.saw("gunicorn.log", "Lock wait timeout exceeded")
