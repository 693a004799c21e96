"""Backends that misbehave, for the battery: `python scripted.py PORT BEHAVIOUR`.

Each behaviour is a function that has a connection to itself. Like app.py they write down what they execute into the file
`EXECUTED`, and call themselves `NAME`.
"""

import os
import random
import select
import socket
import struct
import sys
import threading

NAME = os.environ["NAME"]
_executed = os.open(os.environ["EXECUTED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def note(path: str):
    os.write(_executed, f"{path.removeprefix('/')} {NAME}\n".encode())


class Connection:
    def __init__(self, accepted: socket.socket):
        self.socket = accepted
        self.buffer = b""

    def request(self) -> str | None:
        """The path of the next request, when its body has been read; `None` if the client is gone."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(fields.get("content-length", 0))
        while len(self.buffer) < length:
            if not self._more():
                return None
        self.buffer = self.buffer[length:]
        return lines[0].split(" ")[1]

    def _more(self) -> bool:
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def answer(self, status: str = "200 OK", more: str = ""):
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nX-Battery-Name: {NAME}\r\n"
        self.socket.sendall(f"{head}{more}\r\nok".encode())

    def is_idle_for(self, seconds: float) -> bool:
        return not self.buffer and not select.select([self.socket], [], [], seconds)[0]

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def closes(connection: Connection):
    """Closes idle connections after a time that nobody can know."""
    while path := connection.request():
        note(path)
        connection.answer()
        if connection.is_idle_for(random.uniform(0, 0.3)):
            return


def silent(connection: Connection):
    """Reads, and never answers."""
    while connection.request():
        pass
    threading.Event().wait()


def status(code: str):
    """Answers with this status only, and executes nothing. It says that it is healthy: a check finds nothing."""

    def behave(connection: Connection):
        while path := connection.request():
            connection.answer("200 OK" if path == "/health" else f"{code} Bad")

    return behave


def resets(share: str):
    """Resets this share of the connections right after it has accepted them; a good one serves one request."""

    def behave(connection: Connection):
        if random.random() < float(share):
            connection.reset()
        elif path := connection.request():
            note(path)
            connection.answer(more="Connection: close\r\n")

    return behave


def half_closes(connection: Connection):
    """Ends its sending side when idle, and executes a request that it reads after that: what no known server does."""
    while path := connection.request():
        note(path)
        connection.answer()
        if connection.is_idle_for(random.uniform(0, 0.05)):
            connection.socket.shutdown(socket.SHUT_WR)
            if path := connection.request():
                note(path)
            connection.reset()
            return


BEHAVIOURS = {
    "closes": lambda: closes,
    "half-closes": lambda: half_closes,
    "resets": resets,
    "silent": lambda: silent,
    "status": status,
}


def serve(accepted: socket.socket, behave):
    with accepted:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            behave(Connection(accepted))
        except OSError:
            # The client has left: that is its right.
            pass


def main(port: int, name: str, *arguments: str):
    behave = BEHAVIOURS[name](*arguments)
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=serve, args=(accepted, behave), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
