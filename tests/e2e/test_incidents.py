"""A service that fails beyond its past: an incident opens by itself, is told of everywhere, and closes by itself."""

import json
import signal
import threading
import time
from contextlib import contextmanager

import pytest

import gateway as clearway
from processes import wait_until
from rawhttp import Request, send

#: The incident opens within the window and a second; the rest is for slow machines.
OPENS_WITHIN = 30
#: A minute and the window without failures, and then the same.
CLOSES_WITHIN = 100


def incidents(gateway, *flags) -> list[dict]:
    return clearway.parse_json(gateway.ask("incidents", "list", *flags, "--format", "json").stdout)


def metric(gateway, name: str) -> dict[str, float]:
    import urllib.request

    text = urllib.request.urlopen(f"{gateway.management}/metrics", timeout=10).read().decode()
    rows = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(name)]
    return {row[0]: float(row[1]) for row in rows}


@contextmanager
def traffic(port: int, every: float = 0.1, request: Request = Request()):
    """A client that goes on asking; gives the statuses it got."""
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


def one_open(gateway) -> dict:
    found = wait_until(lambda: incidents(gateway, "--open"), "an open incident", OPENS_WITHIN)
    assert len(found) == 1, found
    return found[0]


def test_a_killed_server_opens_an_incident_that_survives_and_closes(start_server, start_gateway, tmp_path):
    server = start_server("gunicorn-sync")
    gateway = start_gateway("--to", server.url)
    with traffic(gateway.port) as statuses:
        wait_until(lambda: statuses.count(200) >= 30, "good answers")
        assert incidents(gateway) == []
        server.signal(signal.SIGKILL)
        incident = one_open(gateway)
        assert incident["service"] == "default" and incident["state"] == "open"
        assert incident["failed"] >= 5 and incident["peak_share"] > 0.05
        gateway.wait_for_output(f"warn: incident {incident['id']}: default fails, ")
        assert metric(gateway, "clearway_incidents_open") == {'clearway_incidents_open{service="default"}': 1}

        def looked_into():
            return json.loads(gateway.ask("incidents", "show", incident["id"], "--format", "json").stdout).get("report")

        report = wait_until(looked_into, "a report")
        assert report["version"] == 1
        assert any("127.0.0.1" in found["summary"] for found in report["findings"]), report
        shown = gateway.ask("incidents", "show", incident["id"]).stdout
        assert incident["id"] in shown and "it lasts" in shown, shown

    # The data directory has it when nobody runs, and the next process goes on with it.
    gateway.signal(signal.SIGKILL)
    gateway.wait()
    assert [one["id"] for one in incidents(gateway, "--open")] == [incident["id"]]
    again = start_gateway("--to", server.url, data=gateway.data)
    again.wait_for_output(f"incident {incident['id']}: default goes on from before the start")

    # And so does one after an upgrade.
    result = clearway.command("upgrade", "--data", gateway.data, timeout=60)
    assert result.returncode == 0, result.stderr
    assert [one["id"] for one in incidents(again, "--open")] == [incident["id"]]
