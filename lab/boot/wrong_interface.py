"""An ASGI application under a WSGI server."""

CAUSE = "wrong-interface-type"

APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""


def run(lab):
    lab.nginx()
    lab.gunicorn(app=APP)
    lab.get("/", 500, times=3)
    lab.saw("gunicorn.log", "TypeError")
