"""Redis wants a password that the application does not send."""

CAUSE = "dep-redis-noauth"

APP = """
import redis

client = redis.Redis(port=6379)

def app(environ, start_response):
    client.get("cart")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.redis("--requirepass", "s3cret-of-the-lab")
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 500, times=3)
