"""RabbitMQ does not run: views that publish fail."""

CAUSE = "dep-rabbit-down"

APP = """
import pika

def app(environ, start_response):
    pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", 5672, connection_attempts=1))
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 500, times=3)
