"""The disk on which nginx keeps answers is full: they are cut."""

CAUSE = "disk-full-temp"

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "20000000")])
    return [b"x" * 1000000] * 20
"""


def run(lab):
    import socket
    import time
    from pathlib import Path

    Path("/srv/full").mkdir()
    lab.command("mount", "-t", "tmpfs", "-o", "size=64k", "lab", "/srv/full")
    lab.nginx(http="proxy_temp_path /srv/full;", location="proxy_buffers 8 4k; sendfile off;")
    lab.gunicorn(app=APP)
    for _ in range(2):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", 80))
        client.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
        time.sleep(0.5)
        client.close()
    lab.saw("nginx/error.log", "(28: No space left on device)")
