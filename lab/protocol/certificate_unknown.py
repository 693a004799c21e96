"""nginx does not trust the certificate of the server."""

CAUSE = "tls-cert-verify-fail"


def run(lab):
    cert, key = lab.certificate()
    other, _ = lab.certificate("other.example")
    lab.nginx(scheme="https", location=f"proxy_ssl_verify on; proxy_ssl_name shop.example; proxy_ssl_trusted_certificate {other};")
    lab.gunicorn("--certfile", cert, "--keyfile", key)
    lab.get("/", 502, times=3)
    lab.saw("nginx/error.log", "certificate verify error")
