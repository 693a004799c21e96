"""The disk on which nginx keeps bodies is full."""

CAUSE = "disk-full-client-body"
URL = "http://shop.example/upload"


def run(lab):
    from pathlib import Path

    Path("/srv/full").mkdir()
    lab.command("mount", "-t", "tmpfs", "-o", "size=64k", "lab", "/srv/full")
    lab.nginx(http="client_body_temp_path /srv/full; client_max_body_size 10m;")
    lab.gunicorn()
    lab.get("/upload", 500, method="POST", body=b"x" * 500_000, times=2)
    lab.saw("nginx/error.log", "(28: No space left on device)")
