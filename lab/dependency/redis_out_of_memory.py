"""Redis has reached its memory and may throw nothing away."""

CAUSE = "dep-redis-oom"

APP = """
import redis

client = redis.Redis(port=6379)

def app(environ, start_response):
    client.append("cart", "x" * 300000)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.redis("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    lab.nginx()
    lab.gunicorn(app=APP)
    from harness import until

    until(lambda: lab.get("/") == 500, "Redis to be full")
    lab.get("/", 500, times=2)
