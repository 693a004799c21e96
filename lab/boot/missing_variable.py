"""A variable of the environment is missing at start."""

CAUSE = "app-config-missing-env"


def run(lab):
    lab.nginx()
    app = 'import os\n\nDATABASE = os.environ["DATABASE_URL"]\n'
    lab.gunicorn(app=app, ready=lambda server: not server.runs())
    lab.get("/", 502, times=3)
    lab.saw("gunicorn.log", "KeyError")
