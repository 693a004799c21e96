"""The server answers after four seconds, and nginx waits for two."""

CAUSE = "proxy-timeout-too-low"
URL = "http://shop.example/report"

APP = """
import time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/report":
        time.sleep(4)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.nginx(location="proxy_read_timeout 2s;")
    lab.gunicorn("--worker-class", "gthread", "--threads", 4, "--access-logfile", "/var/log/gunicorn-access.log",
                 "--access-logformat", '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(L)s', app=APP, user=None)
    lab.get("/report", 504)
    if lab.without != "server-logs":
        lab.saw("gunicorn-access.log", "/report")
    else:
        import time

        time.sleep(3)
