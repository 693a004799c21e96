"""The certificate of the server is out of date."""

CAUSE = "tls-cert-expired"


def run(lab):
    cert, key = lab.certificate(days=-2)
    lab.nginx(scheme="https", location=f"proxy_ssl_verify on; proxy_ssl_name shop.example; proxy_ssl_trusted_certificate {cert};")
    lab.gunicorn("--certfile", cert, "--keyfile", key)
    lab.get("/", 502, times=3)
    lab.saw("nginx/error.log", "certificate has expired")
