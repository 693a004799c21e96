"""The name of the target is an IPv6 address first, and the server listens on IPv4 only."""

CAUSE = "localhost-ipv6-mismatch"


def run(lab):
    from pathlib import Path

    Path("/etc/hosts").write_text("127.0.0.1 shop.example\n::1 localhost\n")
    lab.nginx(to="localhost:8000")
    lab.gunicorn()
    lab.get("/", 502, times=3)
    lab.saw("nginx/error.log", "[::1]:8000")
