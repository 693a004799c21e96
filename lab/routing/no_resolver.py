"""nginx has to look a name up and knows no name server."""

CAUSE = "no-resolver-defined"


def run(lab):
    lab.nginx(server="set $target app.internal;", to="$target:8000")
    lab.gunicorn()
    lab.get("/", 502, times=3)
    lab.saw("nginx/error.log", "no resolver defined")
