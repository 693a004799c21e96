"""Requests to the byte. Other clients tidy up what they send; these tests are about what arrives untidied."""

import http.client
import socket
from dataclasses import dataclass, field, replace

# Python's client takes 100 fields; some responses here have more.
http.client._MAXHEADERS = 1000


@dataclass(frozen=True)
class Request:
    """One HTTP/1 request. Names, order and spelling of headers are kept."""

    method: str = "GET"
    target: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    #: Sizes of the chunks to send the body in; none for a content-length.
    chunks: tuple[int, ...] = ()
    trailers: tuple[tuple[str, str], ...] = ()
    version: str = "1.1"
    host: str | None = "shop.test"

    def with_(self, **changes) -> "Request":
        return replace(self, **changes)

    def encode(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/{self.version}"]
        if self.host is not None:
            lines.append(f"Host: {self.host}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.chunks:
            lines.append("Transfer-Encoding: chunked")
        elif self.body or self.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head + (self._chunked() if self.chunks else self.body)

    def _chunked(self) -> bytes:
        parts, at = [], 0
        for size in self.chunks:
            part = self.body[at : at + size]
            at += size
            # A chunk of no bytes would be the last one.
            if part:
                parts.append(b"%x\r\n%b\r\n" % (len(part), part))
        assert at >= len(self.body), "the chunks must cover the body"
        trailers = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in self.trailers)
        return b"".join(parts) + b"0\r\n" + trailers + b"\r\n"


@dataclass(repr=False)
class Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    #: Whether the body ended as it said it would.
    whole: bool = True
    version: int = 11
    names: dict[str, str] = field(init=False)

    def __str__(self):
        return f"{self.status} {self.headers} {self.body[:200]}"

    __repr__ = __str__

    def __post_init__(self):
        self.names = {name.lower(): value for name, value in self.headers}


class Connection:
    """A TCP connection that sends what it is told and reads one answer at a time."""

    def __init__(self, port: int, timeout: float = 15):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes | Request):
        self.socket.sendall(data.encode() if isinstance(data, Request) else data)

    def receive(self, method: str = "GET") -> Response:
        response = http.client.HTTPResponse(_SocketOf(self.file), method=method)
        response.begin()
        whole = True
        try:
            body = response.read()
        except http.client.IncompleteRead as short:
            body, whole = short.partial, False
        except ConnectionError:
            body, whole = b"", False
        return Response(response.status, response.getheaders(), body, whole, response.version)

    def is_closed(self) -> bool:
        """Whether the peer ends the connection; waits until it does or the time is over."""
        try:
            return self.file.read(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _SocketOf:
    """`HTTPResponse` makes a file of a socket and closes it; the next answer needs it open."""

    def __init__(self, file):
        self._file = file

    def makefile(self, _mode):
        return _Unclosed(self._file)


class _Unclosed:
    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def close(self):
        pass

    def flush(self):
        pass


def send(port: int, request: Request, timeout: float = 15) -> Response:
    """One request on a connection of its own."""
    with Connection(port, timeout) as connection:
        connection.send(request)
        return connection.receive(request.method)
