"""All connections of SQLAlchemy's pool are taken: requests fail after its limit."""

CAUSE = "dep-db-pool-exhausted"

APP = """
import time
import sqlalchemy

engine = sqlalchemy.create_engine("postgresql+psycopg2://shop@127.0.0.1/shop", pool_size=1, max_overflow=0, pool_timeout=1)

def app(environ, start_response):
    with engine.connect() as connection:
        if environ["PATH_INFO"] == "/report":
            time.sleep(60)
        connection.execute(sqlalchemy.text("SELECT 1"))
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.postgres()
    lab.nginx(location="proxy_read_timeout 70s;")
    lab.gunicorn("--worker-class", "gthread", "--threads", 8, app=APP)
    lab.get("/", 200)
    lab.hold(1, "/report")
    import time

    time.sleep(0.5)
    lab.get("/", 500, times=2)
    lab.saw("gunicorn.log", "QueuePool limit")
