"""PostgreSQL was restarted, and the application goes on with its old connection."""

CAUSE = "dep-db-restarted-stale-conn"

APP = """
import psycopg2

connection = None

def app(environ, start_response):
    global connection
    connection = connection or psycopg2.connect(host="127.0.0.1", user="shop", dbname="shop")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    database = lab.postgres()
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 200)
    import signal

    database.kill(signal.SIGINT)
    home = lab.command("sh", "-c", "ls -d /usr/lib/postgresql/*/bin | tail -1").strip()
    lab.start([f"{home}/postgres", "-D", "/srv/postgres"], log="postgresql.log", user="postgres")
    from harness import accepts, until

    until(lambda: accepts(5432), "postgres")
    lab.get("/", 500, times=3)
