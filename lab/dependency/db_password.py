"""PostgreSQL refuses the password of the application."""

CAUSE = "dep-db-auth"

APP = """
import psycopg2

def app(environ, start_response):
    psycopg2.connect(host="127.0.0.1", user="web", password="of-yesterday", dbname="shop").close()
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    from pathlib import Path

    database = lab.postgres()
    lab.sql("CREATE USER web PASSWORD 'of-today'")
    rules = Path("/srv/postgres/pg_hba.conf")
    rules.write_text("host shop web 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    lab.command("kill", "-HUP", database.pid)
    lab.nginx()
    lab.gunicorn(app=APP)
    from harness import until

    until(lambda: lab.get("/") == 500, "the password to be refused")
    lab.get("/", 500, times=2)
    lab.saw("gunicorn.log", "password authentication failed")
