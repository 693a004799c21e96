"""A worker of uWSGI crashes in compiled code."""

CAUSE = "native-segfault"
PIDS = "host"

APP = """
import ctypes

def app(environ, start_response):
    if environ["PATH_INFO"] == "/image":
        ctypes.string_at(0)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""

URL = "http://shop.example/image"


def run(lab):
    lab.nginx(scheme="uwsgi")
    lab.uwsgi("socket = 127.0.0.1:8000", app=APP)
    lab.get("/image", 502, times=2)
    lab.saw("uwsgi.log", "Segmentation Fault")
