"""The application moved to another address, and nginx still sends to the old one."""

CAUSE = "dns-stale-resolution"


def run(lab):
    records = lab.dns({"app.internal": "10.9.0.1"})
    lab.command("ip", "addr", "add", "10.9.0.1/32", "dev", "lo")
    lab.command("ip", "addr", "add", "10.9.0.2/32", "dev", "lo")
    lab.nginx(to="app.internal:8000")
    first = lab.gunicorn(bind="10.9.0.1:8000", ready=lambda _: True)
    from harness import accepts, until

    until(lambda: accepts(8000, "10.9.0.1"), "the first server")
    lab.get("/", 200)
    first.kill()
    records["app.internal"] = "10.9.0.2"
    lab.gunicorn(bind="10.9.0.2:8000", ready=lambda _: accepts(8000, "10.9.0.2"))
    lab.get("/", 502, times=3)
