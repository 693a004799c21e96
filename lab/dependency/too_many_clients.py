"""PostgreSQL takes no more connections."""

CAUSE = "dep-postgres-too-many-clients"

APP = """
import psycopg2

def app(environ, start_response):
    psycopg2.connect(host="127.0.0.1", user="web", dbname="shop").close()
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.postgres(max_connections="6", superuser_reserved_connections="1")
    lab.sql("CREATE USER web")
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 200)
    for number in range(8):
        lab.start(["psql", "-h", "127.0.0.1", "-U", "web", "-d", "shop", "-c", "SELECT pg_sleep(300)"], log=f"other-{number}.out")
    from harness import until

    until(lambda: lab.get("/") == 500, "the last connection to be taken")
    lab.get("/", 500, times=2)
    lab.saw("gunicorn.log", "remaining connection slots are reserved")
