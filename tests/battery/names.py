"""A name server for the battery: `python names.py ADDRESS FILE` answers every question for an IPv4 address with the one
in the file, for one second (RFC 1035 section 4.1)."""

import socket
import struct
import sys
from pathlib import Path


def answer(question: bytes, address: str) -> bytes:
    end = question.index(b"\0", 12) + 5
    kind = struct.unpack("!H", question[end - 4 : end - 2])[0]
    records = b""
    if kind == 1:
        # A pointer to the name in the question, type A, class IN, TTL, length.
        records = struct.pack("!HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(address)
    head = question[:2] + struct.pack("!HHHHH", 0x8180, 1, int(bool(records)), 0, 0)
    return head + question[12:end] + records


def main(own: str, file: Path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((own, 53))
        while True:
            question, client = server.recvfrom(512)
            server.sendto(answer(question, file.read_text().strip()), client)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
