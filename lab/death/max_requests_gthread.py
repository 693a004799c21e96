"""Gunicorn 23 closes kept connections of a threaded worker that reached its number of requests."""

CAUSE = "gunicorn-gthread-maxrequests-reset"


def run(lab):
    import time

    lab.nginx(upstream="server 127.0.0.1:8000 max_fails=0; keepalive 16;", location='proxy_http_version 1.1; proxy_set_header Connection "";')
    lab.gunicorn("--worker-class", "gthread", "--threads", 4, "--keep-alive", 30, "--max-requests", 20, "--workers", 1, version="23.0.0")
    statuses = []

    def post():
        statuses.append(lab.get("/", method="POST", body=b"x" * 100))
        return 502 in statuses

    import threading

    deadline = time.monotonic() + 40
    while 502 not in statuses and time.monotonic() < deadline:
        threads = [threading.Thread(target=post) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lab.prove(502 in statuses, f"no 502 in {len(statuses)} requests")
