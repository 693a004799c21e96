"""A client that sends its body slowly holds the only sync worker, because nginx does not buffer."""

CAUSE = "sync-worker-slow-client"

APP = """
def app(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    import socket

    lab.nginx(location="proxy_request_buffering off; proxy_http_version 1.1; proxy_read_timeout 2s; client_body_timeout 120s;")
    lab.gunicorn("--timeout", 120, app=APP)
    lab.get("/", 200)
    lab.slow = socket.create_connection(("127.0.0.1", 80))
    lab.slow.sendall(b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100)
    import time

    time.sleep(0.5)
    lab.get("/", 504, times=2)
