"""Targets are taken out and brought back by what checks and requests show; clients stay where they belong."""

import http.cookiejar
import re
import sys
import urllib.request

import pytest

from processes import Process, free_port, wait_until
from rawhttp import Request, send
from servers import APPS, VENV

SERVERS = {
    "gunicorn": ("gunicorn", "--worker-class", "gthread", "--threads", "4", "--no-control-socket", "health_app:wsgi"),
    "uvicorn": ("uvicorn", "health_app:asgi"),
}


class Instance:
    """A server of its own, which is well or fails as the test says."""

    def __init__(self, kind: str, name: str, folder):
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.well, self.failing = folder / f"{name}.well", folder / f"{name}.failing"
        self.well.touch()
        program, *words = SERVERS[kind]
        place = ("--port", self.port) if program == "uvicorn" else ("--bind", f"127.0.0.1:{self.port}")
        self.process = Process(
            [VENV / "bin" / program, *words, *place, "--log-level", "warning"],
            log=folder / f"{name}.log",
            cwd=APPS,
            env={"NAME": name, "WELL": str(self.well), "FAILING": str(self.failing), "PYTHONPATH": str(APPS)},
        )
        self.process.wait_for_port(self.port)


@pytest.fixture
def instance(tmp_path):
    started = []

    def start(kind: str, name: str) -> Instance:
        started.append(Instance(kind, name, tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.process.stop()


def config(*urls: str, more: str = "") -> str:
    targets = ", ".join(f'"{url}"' for url in urls)
    return f"""
upstreams:
  - name: app
    targets: [{targets}]
    {more}
services:
  - {{ name: shop, upstream: app }}
"""


def row(gateway, url: str) -> dict:
    return next(target for target in gateway.upstreams()[0]["targets"] if target["target"] == url)


def until(gateway, url: str, condition: str) -> dict:
    return wait_until(
        lambda: next((found for found in [row(gateway, url)] if found["condition"] == condition), None),
        f"{url} to be {condition}",
    )


def metrics(gateway) -> str:
    with urllib.request.urlopen(f"{gateway.management}/metrics", timeout=15) as answer:
        return answer.read().decode()


CHECKS = "health: { check: { http: /healthz, interval: 100ms }, slow-start: 0s }"


@pytest.mark.parametrize("kind", SERVERS)
def test_a_check_takes_a_target_out_and_brings_it_back(start_gateway, instance, kind):
    one, other = instance(kind, "one"), instance(kind, "other")
    gateway = start_gateway(config=config(one.url, other.url, more=CHECKS))
    one.well.unlink()
    found = until(gateway, one.url, "down")
    assert (found["why"], found["share"]) == ("check GET /healthz answered 500", 0)
    assert row(gateway, other.url)["share"] == 1
    assert {send(gateway.port, Request()).body for _ in range(20)} == {b"other"}
    gateway.wait_for_output(f'upstream "app": {one.url} is down: check GET /healthz answered 500')
    shown = gateway.ask("upstreams").stdout
    assert f"{one.url}  down: check GET /healthz answered 500  share 0%" in shown
    labels = f'upstream="app",target="{one.url}"'
    said = metrics(gateway)
    assert f'clearway_target_condition{{{labels},condition="down"}} 1\n' in said
    assert f'clearway_target_checks_total{{{labels},result="fail"}} ' in said

    one.well.touch()
    until(gateway, one.url, "up")
    wait_until(lambda: send(gateway.port, Request()).body == b"one", "a request to the one that is back")
    gateway.wait_for_output(f'upstream "app": {one.url} is up again: its checks pass')


def test_a_check_of_a_path_that_is_not_there_is_warned_of(start_gateway, instance):
    one = instance("gunicorn", "one")
    more = "health: { check: { http: /missing, interval: 100ms } }"
    gateway = start_gateway(config=config(one.url, more=more))
    until(gateway, one.url, "down")
    gateway.wait_for_output(f"check GET /missing of {one.url} is answered 404: name a path")
    assert send(gateway.port, Request()).status == 200, "a target that is alone is asked all the same"


def test_the_health_service_of_a_grpc_server_is_asked(start_gateway, tmp_path):
    port, ill = free_port(), tmp_path / "ill"
    url = f"h2c://127.0.0.1:{port}"
    words = [sys.executable, APPS / "grpc_app.py", port]
    with Process(words, log=tmp_path / "grpc.log", env={"ILL": str(ill)}) as process:
        process.wait_for_port(port)
        more = "health: { check: { grpc: test.Echo, interval: 100ms } }"
        gateway = start_gateway(config=config(url, more=more))
        wait_until(lambda: row(gateway, url)["checks_passed"] > 2, "checks that pass")
        assert row(gateway, url)["checks_failed"] == 0
        ill.touch()
        assert until(gateway, url, "down")["why"] == "check grpc test.Echo says NOT_SERVING"
        ill.unlink()
        until(gateway, url, "up")
    more = "health: { check: { grpc: test.Nothing, interval: 100ms } }"
    with Process(words, log=tmp_path / "grpc-again.log") as process:
        process.wait_for_port(port)
        gateway = start_gateway(config=config(url, more=more))
        assert until(gateway, url, "down")["why"].startswith("check grpc test.Nothing is answered NOT_FOUND")


def test_a_target_that_answers_500_is_ejected_for_its_share(start_gateway, instance):
    one, other = instance("gunicorn", "one"), instance("gunicorn", "other")
    # In turn, so that both are asked as often whoever is faster.
    more = "balance: round-robin\n    health: { ejection: 2s, slow-start: 0s, failure-share-window: 2s }"
    gateway = start_gateway(config=config(one.url, other.url, more=more))
    one.failing.touch()
    failed = 0

    def ejected():
        nonlocal failed
        failed += send(gateway.port, Request()).status == 500
        return failed and row(gateway, one.url)["condition"] == "ejected"

    wait_until(ejected, "an ejection", 30)
    assert failed <= 25, "the threshold is 20"
    found = row(gateway, one.url)
    assert found["why"].endswith("of its requests failed, 0% of the others'")
    labels = f'upstream="app",target="{one.url}",reason="share"'
    assert f"clearway_target_ejections_total{{{labels}}} 1\n" in metrics(gateway)
    one.failing.unlink()

    def is_back():
        send(gateway.port, Request())
        return row(gateway, one.url)["condition"] == "up"

    wait_until(is_back, "a trial that goes well")


def test_an_application_that_answers_500_everywhere_keeps_all_its_targets(start_gateway, instance):
    both = [instance("gunicorn", "one"), instance("gunicorn", "other")]
    gateway = start_gateway(config=config(*(one.url for one in both), more="balance: round-robin"))
    for one in both:
        one.failing.touch()
    assert {send(gateway.port, Request()).status for _ in range(100)} == {500}
    assert {row(gateway, one.url)["condition"] for one in both} == {"up"}


def test_a_browser_stays_with_its_target(start_gateway, instance):
    both = [instance("uvicorn", "one"), instance("uvicorn", "other")]
    more = "balance: round-robin\n    stickiness: { cookie: app-target }"
    gateway = start_gateway(config=config(*(one.url for one in both), more=more))
    seen = set()
    for _ in range(4):
        jar = http.cookiejar.CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        names = {browser.open(gateway.url, timeout=15).read() for _ in range(10)}
        assert len(names) == 1
        seen |= names
        [cookie] = jar
        assert (cookie.name, cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == ("app-target", "/", True)
        assert re.fullmatch("[0-9a-f]{16}", cookie.value), "it holds no address"
    assert seen == {b"one", b"other"}
    # The last one's target goes: it is served by the other one, and stays there.
    gone = next(one for one in both if one.name.encode() in names)
    gone.process.stop()
    moved = {browser.open(gateway.url, timeout=15).read() for _ in range(10)}
    assert moved == seen - names
    shown = gateway.ask("upstreams").stdout
    assert shown.startswith("app  round-robin  sticky by cookie app-target  ")


def test_a_key_leads_to_the_same_target_through_every_gateway(start_gateway, instance):
    both = [instance("uvicorn", "one"), instance("uvicorn", "other")]
    text = config(*(one.url for one in both), more="balance: { by: hash, key: header x-tenant }")
    gateways = [start_gateway(config=text), start_gateway(config=text)]
    seen = set()
    for tenant in range(20):
        request = Request(headers=(("X-Tenant", f"tenant-{tenant}"),))
        names = {send(gateway.port, request).body for gateway in gateways for _ in range(3)}
        assert len(names) == 1, (tenant, names)
        seen |= names
    assert seen == {b"one", b"other"}
    [upstream] = gateways[0].upstreams()
    assert (upstream["balance"], upstream["key"]) == ("hash", "header x-tenant")


def test_the_zone_of_the_environment_is_preferred(start_gateway, instance):
    near, far = instance("uvicorn", "near"), instance("uvicorn", "far")
    text = f"""
zone: "${{env:ZONE}}"
upstreams:
  - name: app
    targets: [{{ url: "{near.url}", zone: a }}, {{ url: "{far.url}", zone: b }}]
services:
  - {{ name: shop, upstream: app }}
"""
    gateway = start_gateway(config=text, env={"ZONE": "a"})
    assert {send(gateway.port, Request()).body for _ in range(10)} == {b"near"}
    assert (row(gateway, near.url)["share"], row(gateway, far.url)["share"]) == (1, 0)
    near.process.stop()
    assert {send(gateway.port, Request()).body for _ in range(10)} == {b"far"}
    until(gateway, near.url, "unreachable")
    assert row(gateway, far.url)["share"] == 1
