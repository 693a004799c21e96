"""Gunicorn runs in an environment that the application's packages are not in."""

CAUSE = "app-import-error"


def run(lab):
    lab.nginx()
    app = "import flask\n\napp = flask.Flask(__name__)\n"
    lab.gunicorn(app=app, version="23.0.0", ready=lambda server: not server.runs())
    lab.get("/", 502, times=3)
    lab.saw("gunicorn.log", "No module named 'flask'")
