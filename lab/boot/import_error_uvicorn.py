"""The application has an error in its first lines: Uvicorn does not start."""

CAUSE = "app-import-error"


def run(lab):
    lab.haproxy()
    lab.uvicorn(app="from datetime import date_time\n", ready=lambda server: not server.runs())
    lab.get("/", 503, times=3)
    lab.saw("uvicorn.log", "ImportError")
