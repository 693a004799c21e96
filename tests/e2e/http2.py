"""HTTP/2 frame by frame, for what a well-behaved client never sends."""

import socket
import struct

from hpack import Decoder, Encoder
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: Error codes of RFC 9113 section 7.
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 5, 6, 7, 9, 11

GET = ((":method", "GET"), (":scheme", "http"), (":authority", "shop.test"), (":path", "/"))
POST = ((":method", "POST"), *GET[1:])


class Connection:
    """A connection that sends the frames it is given, good or bad, and reports what comes back."""

    def __init__(self, port: int, settings: dict | None = None, timeout: float = 15):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.encoder = Encoder()
        self.decoder = Decoder()
        self._received = b""
        self.send(PREFACE, SettingsFrame(settings=settings or {}))

    def send(self, *parts: Frame | bytes):
        self.socket.sendall(b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts))

    def headers(self, stream: int, fields=GET, *flags: str) -> HeadersFrame:
        """A HEADERS frame; the flags are END_STREAM and END_HEADERS unless given."""
        return HeadersFrame(stream, self.encoder.encode(fields), flags=flags or ("END_STREAM", "END_HEADERS"))

    def frames(self):
        """Everything the peer sends until it ends the connection."""
        while True:
            while len(self._received) < 9:
                if not self._read():
                    return
            length = int.from_bytes(self._received[:3], "big")
            while len(self._received) < 9 + length:
                if not self._read():
                    return
            head, body = self._received[:9], self._received[9 : 9 + length]
            self._received = self._received[9 + length :]
            frame, _ = Frame.parse_frame_header(memoryview(head))
            frame.parse_body(memoryview(body))
            if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                self.send_late(SettingsFrame(flags=["ACK"]))
            yield frame

    def _read(self) -> bool:
        try:
            part = self.socket.recv(65536)
        except ConnectionError:
            return False
        self._received += part
        return bool(part)

    def send_late(self, *parts: Frame | bytes) -> bool:
        """Sends to a peer that may have closed; says whether it had not."""
        try:
            self.send(*parts)
            return True
        except ConnectionError:
            return False

    def outcome(self, stream: int) -> tuple:
        """How the peer ends `stream`: ("answer", status), ("stream", code), ("connection", code) or ("closed", None)."""
        status = None
        for frame in self.frames():
            if isinstance(frame, GoAwayFrame) and frame.error_code != NO_ERROR:
                return ("connection", frame.error_code)
            if isinstance(frame, RstStreamFrame) and frame.stream_id == stream:
                return ("stream", frame.error_code)
            if isinstance(frame, HeadersFrame):
                fields = dict(self.decoder.decode(frame.data))
                if frame.stream_id == stream:
                    status = int(fields[":status"])
            if frame.stream_id == stream and "END_STREAM" in frame.flags:
                return ("answer", status)
        return ("closed", None)

    def frames_of(self, stream: int):
        """The frames of one stream until its end."""
        for frame in self.frames():
            if frame.stream_id == stream:
                yield frame
                if "END_STREAM" in frame.flags:
                    return

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def raw_frame(kind: int, flags: int, stream: int, body: bytes, length: int | None = None) -> bytes:
    """A frame that no library would build."""
    length = len(body) if length is None else length
    return struct.pack(">I", length)[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + body
