"""No avoidable 502, against real servers that are restarted, killed, and that close idle connections.

The applications write down what they execute; the clients account for every request. Whatever happens, a GET is
answered if a server comes back within seconds, and nothing is executed twice that must not be.
"""

import itertools
import os
import signal
import threading
import time
import urllib.request
from collections import Counter

import pytest

from processes import Process, free_port, wait_until
from rawhttp import Connection, Request
from servers import APPS, VENV

SERVERS = {
    "gunicorn-sync": ("gunicorn", "--worker-class", "sync", "executed:wsgi"),
    "gunicorn-gthread": ("gunicorn", "--worker-class", "gthread", "--threads", "8", "executed:wsgi"),
    "gunicorn-uvicorn": ("gunicorn", "--worker-class", "uvicorn_worker.UvicornWorker", "executed:asgi"),
    "uvicorn": ("uvicorn", "executed:asgi"),
}


class Backend:
    """One instance of a server at a port of its own, which it keeps through restarts."""

    def __init__(self, kind: str, folder, *more: str):
        self.port = free_port()
        program, *words = SERVERS[kind]
        place = ("--port", self.port) if program == "uvicorn" else ("--bind", f"127.0.0.1:{self.port}")
        self.words = [VENV / "bin" / program, *words, *place, "--log-level", "warning", *more]
        if program == "gunicorn":
            self.words += ["--workers", "2", "--no-control-socket"]
        self.folder = folder
        self.executed = folder / "executed"
        self.process = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        log = self.folder / f"{self.port}.log"
        environment = {"EXECUTED": str(self.executed), "PYTHONPATH": str(APPS)}
        self.process = Process(self.words, log=log, cwd=APPS, env=environment)
        self.process.wait_for_port(self.port)

    def stop(self):
        self.process.stop()

    def kill(self):
        """All of it at once, as when memory runs out."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.stop()


class Load:
    """Clients that ask one request after the other, GET and POST in turn, and note each answer."""

    def __init__(self, gateway, clients: int = 4):
        self.gateway = gateway
        self.answers: list[tuple[str, str, int]] = []
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self):
        connection = Connection(self.gateway.port, 30)
        while not self._over.is_set():
            number = next(self._numbers)
            method = "GET" if number % 2 else "POST"
            body = b"" if method == "GET" else b"x"
            request = Request(method, "/", headers=(("X-Test-Id", f"{method}-{number}"),), body=body)
            connection.send(request)
            answer = connection.receive(method)
            self.answers.append((f"{method}-{number}", method, answer.status))
            if answer.names.get("connection") == "close":
                connection = Connection(self.gateway.port, 30)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def more(self, count: int = 50):
        """Waits for so many more answers."""
        before = len(self.answers)
        wait_until(lambda: len(self.answers) >= before + count, f"{count} more answers", 30)

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def failed(self, method: str) -> list[tuple[str, str, int]]:
        return [answer for answer in self.answers if answer[1] == method and answer[2] != 200]


def twice(executed) -> list[str]:
    """Requests that must not be executed twice, and were."""
    counts = Counter(executed.read_text().split())
    return [name for name, count in counts.items() if count > 1 and name.startswith("POST")]


@pytest.fixture
def backend(tmp_path):
    started = []

    def start(kind: str, *more: str) -> Backend:
        started.append(Backend(kind, tmp_path, *more))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def in_front_of(start_gateway, *backends: Backend, more: str = ""):
    targets = ", ".join(backend.url for backend in backends)
    return start_gateway(
        config=f"upstreams: [{{ name: app, targets: [{targets}]{more} }}]\nservices: [{{ name: shop, upstream: app }}]\n"
    )


@pytest.mark.parametrize("kind", SERVERS)
def test_a_restart_of_the_only_one_loses_nothing(start_gateway, backend, kind):
    only = backend(kind)
    with Load(in_front_of(start_gateway, only)) as load:
        only.stop()
        only.start()
        load.more()
    assert load.failed("GET") == []
    # Whom a worker had not finished with when it was stopped may have been executed.
    assert len(load.failed("POST")) <= 4, load.failed("POST")
    assert {status for _, _, status in load.answers} <= {200, 502}
    assert twice(only.executed) == []


@pytest.mark.parametrize("kind", ["gunicorn-gthread", "uvicorn"])
def test_a_rolling_restart_loses_nothing(start_gateway, backend, kind):
    both = [backend(kind), backend(kind)]
    with Load(in_front_of(start_gateway, *both)) as load:
        for one in both:
            one.stop()
            load.more()
            one.start()
            load.more()
    assert load.failed("GET") == []
    assert len(load.failed("POST")) <= 8, load.failed("POST")
    assert twice(both[0].executed) == []


def test_one_of_two_is_killed(start_gateway, backend):
    both = [backend("gunicorn-gthread"), backend("gunicorn-gthread")]
    gateway = in_front_of(start_gateway, *both)
    with Load(gateway) as load:
        both[0].kill()
        load.more(200)
        # Nothing but probes goes there.

        def conditions() -> dict[str, str]:
            return {target["target"]: target["condition"] for target in gateway.upstreams()[0]["targets"]}

        # As soon as one has been sent there: the other may be the better choice for a while.
        wait_until(lambda: conditions()[both[0].url] == "unreachable", "a request to find the door closed", 30)
        with urllib.request.urlopen(f"{gateway.management}/metrics", timeout=10) as answer:
            metrics = answer.read().decode()
        labels = f'upstream="app",target="{both[0].url}",condition="unreachable"'
        assert f"clearway_target_condition{{{labels}}} 1\n" in metrics
        both[0].start()
        wait_until(lambda: set(conditions().values()) == {"up"}, "the one that was killed to be back")
        load.more()
    assert load.failed("GET") == []
    assert len(load.failed("POST")) <= 4, load.failed("POST")
    assert twice(both[0].executed) == []


def test_workers_that_end_after_ten_requests(start_gateway, backend):
    only = backend("gunicorn-gthread", "--max-requests", "10")
    with Load(in_front_of(start_gateway, only)) as load:
        load.more(300)
    assert load.failed("GET") == []
    assert load.failed("POST") == []
    assert twice(only.executed) == []


@pytest.mark.slow
def test_requests_around_the_idle_limit(start_gateway, backend):
    """With retirement switched off, connections die under requests: what is lost is told, nothing is executed twice."""
    only = backend("gunicorn-gthread", "--keep-alive", "1")
    gateway = in_front_of(start_gateway, only, more=", pool: { idle: 1h }")
    statuses = Counter()

    def client(number: int):
        connection = Connection(gateway.port, 30)
        for turn in range(6):
            request = Request("POST", "/", headers=(("X-Test-Id", f"POST-{number}-{turn}"),), body=b"x")
            connection.send(request)
            statuses[connection.receive("POST").status] += 1
            # The idle time itself is what is tested: a spread of milliseconds around the limit.
            time.sleep(1.0 + (number - 20) / 1000)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(statuses.values()) == 240
    assert set(statuses) <= {200, 502}
    assert twice(only.executed) == []
    assert statuses[502] <= 5, statuses


def test_more_than_the_workers_take_is_answered_or_turned_away_at_once(start_gateway, backend):
    """Two workers that are busy for a moment each, and sixty clients at once: whoever is turned away was not executed."""
    busy = backend("gunicorn-sync")
    gateway = in_front_of(start_gateway, busy, more=", concurrency: 2, queue: { length: 10 }")
    answers: dict[str, tuple[int, str | None]] = {}

    def ask(name: str, start: threading.Barrier):
        connection = Connection(gateway.port, 30)
        headers = (("X-Test-Id", name), ("X-Test-Takes", "0.05"))
        request = Request("POST", "/", headers=headers, body=b"x")
        start.wait()
        connection.send(request)
        answer = connection.receive("POST")
        answers[name] = (answer.status, answer.names.get("retry-after"))

    clients = 60
    start = threading.Barrier(clients)
    threads = [threading.Thread(target=ask, args=(f"POST-{number}", start)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    served = sorted(name for name, (status, _) in answers.items() if status == 200)
    turned_away = [retry_after for status, retry_after in answers.values() if status == 503]
    assert len(served) + len(turned_away) == clients, answers
    assert len(served) >= 12 and turned_away, "the two workers and the queue have twelve places"
    assert all(int(retry_after) >= 1 for retry_after in turned_away)
    assert sorted(busy.executed.read_text().split()) == served, "each once, and nobody else"
