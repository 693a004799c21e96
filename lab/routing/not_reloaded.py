"""The port was mended in nginx's configuration, and nginx was not reloaded."""

CAUSE = "config-not-reloaded"


def run(lab):
    import time
    from pathlib import Path

    lab.nginx(to="127.0.0.1:8001")
    lab.gunicorn()
    lab.get("/", 502, times=2)
    time.sleep(2.5)
    path = Path("/etc/nginx/nginx.conf")
    path.write_text(lab.nginx_configuration.replace("127.0.0.1:8001", "127.0.0.1:8000"))
    lab.get("/", 502, times=2)
