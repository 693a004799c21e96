"""A service that fails beyond its past: an incident opens by itself, is told of everywhere, and closes by itself."""

import http.server
import json
import os
import signal
import threading
import urllib.request
from contextlib import contextmanager

import pytest

import gateway as clearway
from processes import Process, free_port, wait_until
from rawhttp import Request, send
from servers import APPS, VENV

#: The window and a second; the rest is for slow machines.
OPENS_WITHIN = 30
#: A minute and the window without failures, and then the same.
CLOSES_WITHIN = 100


def incidents(gateway, *flags) -> list[dict]:
    return clearway.parse_json(gateway.ask("incidents", "list", *flags, "--format", "json").stdout)


def incident(gateway, name: str) -> dict:
    return json.loads(gateway.ask("incidents", "show", name, "--format", "json").stdout)


def metrics(gateway, name: str) -> dict[str, float]:
    text = urllib.request.urlopen(f"{gateway.management}/metrics", timeout=10).read().decode()
    rows = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(name)]
    return {row[0]: float(row[1]) for row in rows}


@contextmanager
def traffic(port: int, request: Request = Request(), every: float = 0.1):
    """A client that goes on asking; gives the statuses it got, 0 for no answer."""
    statuses, over = [], threading.Event()

    def ask():
        while not over.wait(every):
            try:
                statuses.append(send(port, request).status)
            except OSError:
                statuses.append(0)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


@pytest.fixture
def webhook():
    """A receiver: its port, and what it was told. It refuses the first message once, so that it comes late."""
    told, refused = [], threading.Event()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if refused.is_set():
                told.append((self.path, self.headers["authorization"], json.loads(body)))
            self.send_response(204 if refused.is_set() else 503)
            self.send_header("Content-Length", "0")
            refused.set()
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, told
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def gunicorn(tmp_path):
    """`gunicorn()`: starts Gunicorn, always on the same port."""
    port, started = free_port(), []

    def start(*flags) -> Process:
        words = [VENV / "bin" / "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", "--no-control-socket"]
        words += [*flags, "wsgi_app:app"]
        process = Process(words, log=tmp_path / f"gunicorn-{len(started)}.log", cwd=APPS, env={"PYTHONPATH": str(APPS)})
        process.url = f"http://127.0.0.1:{port}"
        started.append(process)
        process.wait_for_port(port)
        return process

    yield start
    for process in started:
        process.stop()


def one_open(gateway) -> dict:
    found = wait_until(lambda: incidents(gateway, "--open"), "an open incident", OPENS_WITHIN)
    assert len(found) == 1, found
    return found[0]


# The rule wants a minute without failures before it believes in the end.
@pytest.mark.slow
@pytest.mark.timeout(150)
def test_an_outage_is_noticed_explained_told_and_over(gunicorn, start_gateway, webhook):
    server = gunicorn()
    port, told = webhook
    config = (
        f"services: [{{ name: shop, to: '{server.url}' }}]\n"
        f"incidents: {{ webhook: {{ url: 'http://127.0.0.1:{port}/hook?k=1', headers: {{ authorization: '${{env:HOOK}}' }} }} }}\n"
    )
    gateway = start_gateway(config=config, env={"HOOK": "Bearer hook-secret"})
    with traffic(gateway.port) as statuses:
        wait_until(lambda: statuses.count(200) >= 30, "good answers")
        assert incidents(gateway) == []
        os.killpg(server.pid, signal.SIGKILL)
        found = one_open(gateway)
        name = found["id"]
        assert (found["service"], found["state"]) == ("shop", "open")
        assert found["failed"] >= 5 and found["peak_share"] > 0.05
        gateway.wait_for_output(f"warn: incident {name}: shop fails, ")
        assert metrics(gateway, "clearway_incidents_open") == {'clearway_incidents_open{service="shop"}': 1}

        # The cause has its evidence from more than the records, and is told.
        wait_until(lambda: incident(gateway, name).get("cause"), "a cause")
        explained = incident(gateway, name)
        assert (explained["cause"], explained["report"]["version"]) == ("upstream-not-running", 1)
        gateway.wait_for_output(f"warn: incident {name}: shop fails because of upstream-not-running (")
        shown = gateway.ask("incidents", "show", name).stdout
        assert "1. upstream-not-running" in shown and "it lasts" in shown, shown

        # A process that takes over goes on with it.
        result = clearway.command("upgrade", "--data", gateway.data, timeout=60)
        assert result.returncode == 0, result.stderr
        gateway.wait_for_output(f"info: incident {name}: shop goes on from before the start")
        assert [one["id"] for one in incidents(gateway, "--open")] == [name]

        gunicorn()
        closed = wait_until(
            lambda: [one for one in incidents(gateway) if one["state"] != "open"], "the end", CLOSES_WITHIN
        )
        assert [(one["id"], one["state"]) for one in closed] == [(name, "recovered")]
        gateway.wait_for_output(f"info: incident {name}: shop has recovered, ")

    wait_until(lambda: told and told[-1][2]["event"] == "closed", "the last message")
    assert [message["event"] for _, _, message in told] == ["opened", "cause", "closed"]
    assert {(path, secret) for path, secret, _ in told} == {("/hook?k=1", "Bearer hook-secret")}
    assert {message["incident"]["id"] for _, _, message in told} == {name}
    assert "report" not in told[-1][2]["incident"] and told[-1][2]["incident"]["state"] == "recovered"
    assert "hook-secret" not in gateway.output()


def test_frozen_workers_open_an_incident_that_outlives_a_killed_gateway(gunicorn, start_gateway):
    server = gunicorn()
    config = (
        f"upstreams: [{{ name: app, targets: ['{server.url}'], timeouts: {{ await-head: 1s }}, retries: {{ attempts: 1 }} }}]\n"
        "services: [{ name: shop, upstream: app }]\n"
    )
    gateway = start_gateway(config=config)
    with traffic(gateway.port, every=0.05) as statuses:
        wait_until(lambda: statuses.count(200) >= 30, "good answers")
        for child in [server.pid, *server.children()]:
            os.kill(child, signal.SIGSTOP)
        name = one_open(gateway)["id"]
    wait_until(lambda: incident(gateway, name).get("report"), "a report")
    gateway.signal(signal.SIGKILL)
    gateway.wait()
    # The data directory has it when nobody runs ...
    assert [one["id"] for one in incidents(gateway, "--open")] == [name]
    assert incident(gateway, name)["report"]["version"] == 1
    # ... and the next process goes on with it.
    again = start_gateway(config=config, data=gateway.data)
    again.wait_for_output(f"info: incident {name}: shop goes on from before the start")
    assert [one["id"] for one in incidents(again, "--open")] == [name]


def test_a_few_errors_and_a_restart_with_retries_open_none(gunicorn, start_gateway):
    server = gunicorn()
    gateway = start_gateway("--to", server.url)
    with traffic(gateway.port, every=0.02) as statuses:
        wait_until(lambda: statuses.count(200) >= 150, "good answers")
        # An application that fails now and then: the worker is killed with each such request.
        with traffic(gateway.port, Request("GET", "/_/nonsense"), every=0.05):
            for _ in range(3):
                worker = server.children()[0]
                os.kill(worker, signal.SIGKILL)
                wait_until(lambda: worker not in server.children() and len(server.children()) == 2, "a new worker")
            server.signal(signal.SIGHUP)
            before = len(statuses)
            wait_until(lambda: len(statuses) >= before + 300, "more answers", 60)
    assert statuses.count(200) > 0.95 * len(statuses)
    assert incidents(gateway) == []
    assert metrics(gateway, "clearway_incidents_total") == {}
