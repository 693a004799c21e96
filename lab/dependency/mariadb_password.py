"""MariaDB refuses the password of the application."""

CAUSE = "dep-db-auth"

APP = """
import pymysql

def app(environ, start_response):
    connection = pymysql.connect(host="127.0.0.1", user="shop", password="of-yesterday", database="shop")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.mariadb()
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 500, times=3)
    lab.saw("gunicorn.log", "Access denied for user")
