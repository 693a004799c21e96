"""Opens connections to a port of 127.0.0.1, makes one request on each, and holds them open until stdin ends.

    idle.py http1|tls|http2 PORT COUNT PATH

For `cargo xtask bench memory`, on the standard library alone. Prints "ready" when every request was answered with 200.
"""

import socket
import ssl
import struct
import sys


def connect(kind: str, port: int) -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    if kind == "http1":
        return plain
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"] if kind == "http2" else ["http/1.1"])
    return context.wrap_socket(plain, server_hostname="localhost")


def receive(connection: socket.socket, wanted: int) -> bytes:
    data = b""
    while len(data) < wanted:
        piece = connection.recv(wanted - len(data))
        if not piece:
            sys.exit("idle.py: a connection was closed")
        data += piece
    return data


def ask_http1(connection: socket.socket, port: int, path: str) -> None:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(4096) or sys.exit("idle.py: a connection was closed")
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").lower().split("\r\n")
    if not lines[0].startswith("http/1.1 200"):
        sys.exit(f"idle.py: {lines[0]}")
    lengths = [line.split(":")[1] for line in lines if line.startswith("content-length:")]
    receive(connection, int(lengths[0]) - len(body))


def literal(index: int, value: bytes) -> bytes:
    """A field of HPACK with the indexed name `index` (below 15) and a literal value that is not indexed."""
    return bytes([index, len(value)]) + value


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def ask_http2(connection: socket.socket, port: int, path: str) -> None:
    # RFC 9113, sections 3.4 and 6; RFC 7541, appendix A: 2 is GET, 7 is https, 4 is :path, 1 is :authority.
    fields = b"\x82\x87" + literal(4, path.encode()) + literal(1, f"127.0.0.1:{port}".encode())
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 0x5, 1, fields))
    while True:
        head = receive(connection, 9)
        length = int.from_bytes(head[:3], "big")
        kind, flags = head[3], head[4]
        stream = int.from_bytes(head[5:], "big")
        payload = receive(connection, length)
        if kind == 4 and not flags & 1:
            connection.sendall(frame(4, 1, 0))
        # A dynamic table size update may stand before the status; 0x88 is :status 200.
        if kind == 1 and 0x88 not in payload[:4]:
            sys.exit("idle.py: the status is not 200")
        if kind in (3, 7):
            sys.exit(f"idle.py: the server sent a frame of type {kind}")
        if stream == 1 and kind in (0, 1) and flags & 1:
            return


def main() -> None:
    kind, port, count, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    held = []
    for _ in range(count):
        connection = connect(kind, port)
        (ask_http2 if kind == "http2" else ask_http1)(connection, port, path)
        held.append(connection)
    print("ready", flush=True)
    sys.stdin.read()


main()
