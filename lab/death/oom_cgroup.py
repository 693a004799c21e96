"""The kernel kills a worker at the limit of its memory group."""

CAUSE = "oom-kill-cgroup"
PIDS = "host"

APP = """
def app(environ, start_response):
    data = []
    if environ["PATH_INFO"] == "/report":
        for _ in range(400):
            data.append(bytearray(1 << 20))
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""

URL = "http://shop.example/report"


def run(lab):
    from pathlib import Path

    group = Path("/sys/fs/cgroup/memory/clearway-lab")
    if not group.exists():
        group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(120 << 20))
    lab.nginx()
    server = lab.gunicorn("--workers", 1, app=APP)
    for pid in (server.pid, *server.children()):
        (group / "cgroup.procs").write_text(str(pid))
    lab.get("/", 200)
    lab.get("/report", 502, times=2)
    lab.saw("gunicorn.log", "SIGKILL")
