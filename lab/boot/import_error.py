"""A module that the application imports is missing: Gunicorn gives up."""

CAUSE = "app-import-error"


def run(lab):
    lab.nginx()
    lab.gunicorn(app="import shop_pricing\n", ready=lambda server: not server.runs())
    lab.get("/", 502, times=3)
    lab.saw("gunicorn.log", "ModuleNotFoundError")
