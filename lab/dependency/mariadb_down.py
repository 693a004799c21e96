"""MariaDB has stopped: views fail with 500."""

CAUSE = "dep-mysql-down"

APP = """
import pymysql

def app(environ, start_response):
    connection = pymysql.connect(host="127.0.0.1", user="shop", password="of-today", database="shop")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    database = lab.mariadb()
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 200)
    database.kill()
    lab.get("/", 500, times=3)
