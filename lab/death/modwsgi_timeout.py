"""A request takes longer than mod_wsgi's request-timeout: the daemon process is ended with all it did."""

CAUSE = "modwsgi-request-timeout"
URL = "http://shop.example/slow"

APP = """
import time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(60)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def run(lab):
    lab.file("app.wsgi", APP)
    lab.apache(
        to=None,
        modules=("wsgi",),
        extra="""LogLevel info
WSGISocketPrefix /run/wsgi
WSGIDaemonProcess shop processes=1 threads=1 request-timeout=2 graceful-timeout=1
WSGIProcessGroup shop
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias / /srv/shop/app.wsgi
<Directory /srv/shop>
Require all granted
</Directory>""",
    )
    lab.get("/", 200)
    lab.get("/slow", (500, 502, 504), timeout=40)
    lab.saw("apache2/error.log", "request time limit exceeded")
