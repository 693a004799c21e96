"""RabbitMQ has raised its memory alarm and blocks those who publish."""

CAUSE = "dep-rabbit-memory-or-disk-alarm"

APP = """
import pika

def app(environ, start_response):
    parameters = pika.ConnectionParameters("127.0.0.1", 5672, blocked_connection_timeout=1)
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("orders")
    channel.basic_publish("", "orders", b"one")
    connection.close()
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.rabbitmq(vm_memory_high_watermark__absolute="1MB")
    lab.saw("rabbitmq.log", "memory resource limit alarm set", seconds=60)
    lab.nginx(location="proxy_read_timeout 30s;")
    lab.gunicorn("--timeout", 60, app=APP)
    lab.get("/", (500, 502), timeout=40, times=2)
