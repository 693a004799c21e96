"""All threads in which FastAPI runs plain views are busy."""

CAUSE = "threadpool-exhausted"

APP = """
import time

import fastapi

app = fastapi.FastAPI()

@app.get("/report")
def report():
    time.sleep(60)

@app.get("/")
def index():
    return "ok"
"""


def run(lab):
    lab.nginx(location="proxy_read_timeout 2s;")
    lab.uvicorn(app=APP)
    lab.get("/", 200)
    lab.hold(40, "/report", port=8000)
    lab.get("/", 504, times=2)
