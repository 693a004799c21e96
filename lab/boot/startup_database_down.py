"""The lifespan connects to a database that does not run: Uvicorn ends."""

CAUSE = "dep-postgres-down"
CONSEQUENCES = ("app-startup-dependency-down",)

APP = """
import psycopg2

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        psycopg2.connect(host="127.0.0.1", user="shop", dbname="shop")
"""


def run(lab):
    lab.nginx()
    lab.uvicorn("--lifespan", "on", app=APP, ready=lambda server: not server.runs())
    lab.get("/", 502, times=3)
    lab.saw("uvicorn.log", "OperationalError")
