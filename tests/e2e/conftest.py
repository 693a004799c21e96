"""Fixtures: servers and gateways, started when a test first needs them and ended by process id."""

import itertools
import os
import uuid

import pytest

import processes
from gateway import Gateway
from servers import Server


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="session")
def server(folder):
    """`server(name)`: a shared server of that kind. Tests that harm it start their own."""
    started = {}

    def get(name: str) -> Server:
        if name not in started:
            started[name] = Server(name, folder)
        return started[name]

    yield get
    for one in started.values():
        one.stop()


@pytest.fixture(scope="session")
def through(folder, server):
    """`through(name)`: a shared gateway in front of the shared server of that kind, with nothing else configured."""
    started = {}

    def get(name: str) -> Gateway:
        if name not in started:
            data = folder / f"data-{name}"
            log = folder / f"clearway-{name}.log"
            started[name] = Gateway("--to", server(name).url, data=data, log=log)
        return started[name]

    yield get
    for one in started.values():
        one.stop()


@pytest.fixture
def start_server(tmp_path):
    """`start_server(name)`: a server of this test's own."""
    started = []
    numbers = itertools.count()

    def start(name: str) -> Server:
        started.append(Server(name, tmp_path / f"server-{next(numbers)}"))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def start_gateway(tmp_path):
    """`start_gateway(*words, config=None)`: a gateway of this test's own; `config` is the text of its file."""
    started = []
    numbers = itertools.count()

    def start(*words, config: str | None = None, **options) -> Gateway:
        number = next(numbers)
        if config is not None:
            path = tmp_path / f"clearway-{number}.yaml"
            path.write_text(config)
            words = (path, *words)
        options.setdefault("data", tmp_path / f"data-{number}")
        options.setdefault("log", tmp_path / f"clearway-{number}.log")
        started.append(Gateway(*words, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def token():
    """A word that stands nowhere else."""
    return uuid.uuid4().hex


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows what every running process said last when a test fails."""
    report = yield
    if report.failed:
        for process in processes.running:
            lines = process.output().splitlines()[-40:]
            report.sections.append((f"output of {' '.join(process.words[:3])}", "\n".join(lines)))
    return report


def pytest_terminal_summary(terminalreporter):
    """Shows the times of the earlier steps of `cargo xtask ci`, so that pytest's line can be the last."""
    times = os.environ.get("CLEARWAY_CI_TIMES")
    if times:
        terminalreporter.write_line(f"steps before: {times}")
