"""The application writes to a replica of Redis."""

CAUSE = "dep-redis-readonly"

APP = """
import redis

client = redis.Redis(port=6379)

def app(environ, start_response):
    client.set("cart", "x")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.redis(port=6380)
    lab.redis("--replicaof", "127.0.0.1 6380")
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 500, times=3)
