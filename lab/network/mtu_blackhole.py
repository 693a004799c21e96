"""Large packets from the server are dropped on the way: small answers arrive, large ones never."""

CAUSE = "mtu-blackhole"
URL = "http://shop.example/list"

APP = """
def app(environ, start_response):
    headers = [("Content-Length", "3")]
    if environ["PATH_INFO"] == "/list":
        headers.append(("X-Policy", "x" * 3000))
    start_response("200 OK", headers)
    return [b"ok\\n"]
"""


def run(lab):
    inside = lab.peer()
    lab.nginx(to="10.1.0.2:8000", location="proxy_read_timeout 3s;")
    from harness import accepts

    lab.gunicorn("--workers", 2, app=APP, bind="10.1.0.2:8000", prefix=inside, user=None, ready=lambda _: accepts(8000, "10.1.0.2"))
    lab.get("/list", 200)
    drop = ["-p", "tcp", "--sport", "8000", "-m", "length", "--length", "1000:65535", "-j", "DROP"]
    lab.command("iptables", "-A", "INPUT", *drop)
    lab.get("/", 200)
    lab.get("/list", 504, times=2)
