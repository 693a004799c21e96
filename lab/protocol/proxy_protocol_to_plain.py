"""HAProxy begins with the PROXY protocol, which Gunicorn does not expect."""

CAUSE = "proxy-protocol-to-plain"


def run(lab):
    lab.haproxy("s1 127.0.0.1:8000 send-proxy")
    lab.gunicorn(version="23.0.0")
    lab.get("/", (400, 502), times=3)
