"""An OSError leaves the application: Gunicorn takes it for the client's and closes without an answer."""

CAUSE = "wsgi-oserror-escape"

APP = """
def app(environ, start_response):
    open("/srv/shop/prices.json")
"""


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 502, times=3)
    lab.saw("gunicorn.log", "Socket error processing request")
