"""The module has no object of the name that Gunicorn was given."""

CAUSE = "app-object-not-found"


def run(lab):
    lab.nginx()
    lab.gunicorn(target="app:application", ready=lambda server: not server.runs())
    lab.get("/", 502, times=3)
    lab.saw("gunicorn.log", "Failed to find attribute")
