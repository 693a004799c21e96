"""Two locks taken in different order: the threads wait for each other for ever."""

CAUSE = "app-deadlock"

APP = """
import threading
import time

stock, prices = threading.Lock(), threading.Lock()

def app(environ, start_response):
    first, second = (stock, prices) if environ["PATH_INFO"] == "/a" else (prices, stock)
    with first:
        time.sleep(0.2)
        with second:
            pass
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.nginx(location="proxy_read_timeout 2s;")
    lab.gunicorn("--worker-class", "gthread", "--threads", 4, "--timeout", 120, app=APP)
    lab.hold(1, "/a")
    lab.hold(1, "/b")
    import time

    time.sleep(0.5)
    lab.get("/", 504, times=2)
