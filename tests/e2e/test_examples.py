"""The examples do what their READMEs say."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.sync.client import connect

from gateway import parse_json
from processes import ROOT, VENV, Process, free_port, wait_until
from rawhttp import Request, send

EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/clearway.yaml"))


@pytest.fixture
def example(request, tmp_path, start_gateway):
    """The application of an example and a gateway with its file, on free ports."""
    folder = ROOT / "examples" / request.param
    port = free_port()
    config = (folder / "clearway.yaml").read_text()
    assert config.count("127.0.0.1:8000") == 1
    environment = {"PORT": str(port), "VENV": str(VENV), "HOME": str(tmp_path)}
    with Process([folder / "run.sh"], log=tmp_path / "example.log", env=environment) as application:
        application.wait_for_port(port)
        yield application, start_gateway(config=config.replace("127.0.0.1:8000", f"127.0.0.1:{port}"))


@pytest.mark.parametrize("example", EXAMPLES, indirect=True)
def test_the_first_minutes(example):
    application, gateway = example
    worker = json.loads(send(gateway.port, Request()).body)["worker"]
    events = send(gateway.port, Request(target="/events?count=3&seconds=0"))
    assert events.body.count(b"data: tick") == 3

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send, gateway.port, Request("POST", "/slow?seconds=30", body=b"x"))
        wait_until(lambda: in_flight(gateway) == 1, "the slow POST to be on its way")
        os.kill(worker, signal.SIGKILL)
        response = answer.result(20)
    assert response.status == 502
    assert [call["id"] for call in wait_until(lambda: gateway.calls("--status", "5xx"), "the record")] == [
        response.names["x-request-id"]
    ]


def in_flight(gateway) -> int:
    """Requests that upstreams work on now, as `clearway upstreams` says."""
    return sum(upstream["in_flight"] for upstream in parse_json(gateway.ask("upstreams", "--format", "json").stdout))


@pytest.mark.parametrize("example", ["fastapi-gunicorn"], indirect=True)
def test_the_websocket_of_the_fastapi_example(example):
    _, gateway = example
    with connect(f"{gateway.url.replace('http:', 'ws:')}/echo") as socket:
        socket.send("hello")
        assert socket.recv(timeout=10) == "hello"
