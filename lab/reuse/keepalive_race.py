"""Gunicorn closes an idle connection in the moment in which nginx uses it again."""

CAUSE = "keepalive-race"


def run(lab):
    import os
    import signal
    import socket
    import time

    nginx = lab.nginx(upstream="server 127.0.0.1:8000 max_fails=0; keepalive 16;", location='proxy_http_version 1.1; proxy_set_header Connection "";')
    lab.gunicorn("--worker-class", "gthread", "--threads", 4, "--keep-alive", 1)
    worker = nginx.children()[0]
    head = b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1\r\n\r\nx"
    for _ in range(25):
        client = socket.create_connection(("127.0.0.1", 80), timeout=10)
        client.sendall(head)
        client.recv(4096)
        time.sleep(0.95)
        # nginx sees the request and the end of the connection in the same moment.
        os.kill(worker, signal.SIGSTOP)
        client.sendall(head)
        time.sleep(0.15)
        os.kill(worker, signal.SIGCONT)
        answer = client.recv(4096)
        client.close()
        if b" 502 " in answer.split(b"\r\n", 1)[0]:
            return
    lab.prove(False, "no race in 25 attempts")
