"""The server wants a name in the handshake, and nginx sends none."""

CAUSE = "tls-sni-missing"

SETTINGS = """
import ssl

def ssl_context(conf, default):
    context = default()

    def by_name(connection, name, _context):
        if name is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context.sni_callback = by_name
    return context
"""


def run(lab):
    cert, key = lab.certificate()
    lab.nginx(upstream="server 127.0.0.1:8000;", scheme="https", location="proxy_ssl_name shop.example;")
    settings = lab.file("gunicorn.conf.py", SETTINGS)
    lab.gunicorn("--config", settings, "--certfile", cert, "--keyfile", key)
    lab.get("/", 502, times=3)
    lab.saw("nginx/error.log", "unrecognized name")
