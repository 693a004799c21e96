"""Uvicorn workers under Gunicorn cannot import the application."""

CAUSE = "app-import-error"


def run(lab):
    lab.caddy()
    lab.gunicorn("--worker-class", "uvicorn_worker.UvicornWorker", app="import shop_pricing\n", ready=lambda server: not server.runs())
    lab.get("/", 502, times=3)
    lab.saw("gunicorn.log", "ModuleNotFoundError")
