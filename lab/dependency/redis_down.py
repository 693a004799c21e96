"""Redis has stopped: views fail with 500."""

CAUSE = "dep-redis-down"

APP = """
import redis

client = redis.Redis(port=6379, retry=None, retry_on_error=[])

def app(environ, start_response):
    client.get("cart")
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    server = lab.redis()
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 200)
    server.kill()
    lab.get("/", 500, times=3)
