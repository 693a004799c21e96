"""An exception in the lifespan is taken for missing support: the application serves half made."""

CAUSE = "asgi-lifespan-swallowed"

APP = """
state = {}

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        state["prices"] = open("/srv/shop/prices.json").read()
    state["prices"]
"""


def run(lab):
    lab.nginx()
    lab.uvicorn(app=APP)
    lab.get("/", 500, times=3)
    lab.saw("uvicorn.log", "appears unsupported")
