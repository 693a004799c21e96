"""Redis takes no more clients."""

CAUSE = "dep-redis-maxclients"

APP = """
import redis

def app(environ, start_response):
    client = redis.Redis(port=6379)
    client.get("cart")
    client.close()
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    import socket

    lab.redis("--maxclients", "3")
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 200)
    lab.others = [socket.create_connection(("127.0.0.1", 6379)) for _ in range(3)]
    lab.get("/", 500, times=3)
