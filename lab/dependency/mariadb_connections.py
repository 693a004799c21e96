"""MariaDB takes no more connections."""

CAUSE = "dep-mysql-too-many-connections"

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
    lab.mariadb("--max-connections=10")
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 200)
    for number in range(14):
        words = ["mariadb", "--no-defaults", "--host=127.0.0.1", "--user=shop", "--password=of-today", "-e", "SELECT SLEEP(300)"]
        lab.start(words, log=f"other-{number}.out")
    from harness import until

    until(lambda: lab.get("/") == 500, "the last connection to be taken")
    lab.get("/", 500, times=2)
    lab.saw("gunicorn.log", "Too many connections")
