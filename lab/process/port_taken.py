"""Another program has the port, and Gunicorn could not start."""

CAUSE = "port-in-use"

OTHER = """
import socket

server = socket.create_server(("127.0.0.1", 8000))
while True:
    connection, _ = server.accept()
    connection.close()
"""


def run(lab):
    from harness import VENV, accepts, until

    lab.nginx()
    lab.file("other.py", OTHER)
    lab.start([VENV / "bin/python", "other.py"], log="other.log")
    until(lambda: accepts(8000), "the other program")
    server = lab.gunicorn(ready=lambda server: not server.runs())
    lab.prove(not server.runs(), "Gunicorn must not start")
    lab.get("/", 502, times=3)
