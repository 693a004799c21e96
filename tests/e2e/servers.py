"""The real Python servers behind Clearway: one row each."""

import sys
from dataclasses import dataclass
from pathlib import Path

from processes import VENV, Process, free_port

APPS = Path(__file__).parent / "apps"


@dataclass(frozen=True)
class Kind:
    """A server and how it is started. `{port}` and `{second_port}` are filled in."""

    words: tuple[str, ...]
    #: Which of the applications it runs.
    app: str
    #: How Clearway speaks to it.
    scheme: str = "http"
    #: Clearway speaks to the second port, tests that leave Clearway out to the first.
    has_second_port: bool = False


GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "1", "--no-control-socket", "--log-level", "warning")
UVICORN = ("uvicorn", "asgi_app:app", "--port", "{port}", "--log-level", "warning", "--no-access-log")
GRANIAN = ("granian", "--port", "{port}", "--workers", "1", "--no-access-log", "--log-level", "warning")

SERVERS = {
    "aiohttp": Kind(("python", "aiohttp_app.py", "{port}"), "aiohttp"),
    "granian-asgi": Kind((*GRANIAN, "--interface", "asgi", "asgi_app:app"), "asgi"),
    "granian-wsgi": Kind((*GRANIAN, "--interface", "wsgi", "wsgi_app:app"), "wsgi"),
    "gunicorn-gthread": Kind((*GUNICORN, "--worker-class", "gthread", "--threads", "4", "wsgi_app:app"), "wsgi"),
    "gunicorn-sync": Kind((*GUNICORN, "--worker-class", "sync", "wsgi_app:app"), "wsgi"),
    "gunicorn-uvicorn": Kind((*GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker", "asgi_app:app"), "asgi"),
    "hypercorn": Kind(("hypercorn", "--bind", "127.0.0.1:{port}", "asgi_app:app"), "asgi"),
    "tornado": Kind(("python", "tornado_app.py", "{port}"), "tornado"),
    "uvicorn-h11": Kind((*UVICORN, "--http", "h11"), "asgi"),
    "uvicorn-httptools": Kind((*UVICORN, "--http", "httptools"), "asgi"),
    "uwsgi": Kind(
        ("uwsgi", "--master", "--die-on-term", "--need-app", "--workers", "1", "--threads", "4", "--enable-threads")
        + ("--buffer-size", "65535", "--http-socket", "127.0.0.1:{port}", "--uwsgi-socket", "127.0.0.1:{second_port}")
        + ("--virtualenv", str(VENV), "--module", "wsgi_app:app", "--disable-logging"),
        "wsgi",
        scheme="uwsgi",
        has_second_port=True,
    ),
    "waitress": Kind(("waitress-serve", "--no-clear-untrusted-proxy-headers", "--listen", "127.0.0.1:{port}", "wsgi_app:app"), "wsgi"),
}


class Server(Process):
    """A running server of one of the kinds above."""

    def __init__(self, name: str, folder: Path):
        self.name = name
        self.kind = SERVERS[name]
        #: Where the server itself speaks HTTP.
        self.port = free_port()
        second_port = free_port() if self.kind.has_second_port else self.port
        #: Where Clearway is sent to.
        self.url = f"{self.kind.scheme}://127.0.0.1:{second_port}"
        self.hold_folder = folder / f"hold-{name}"
        self.hold_folder.mkdir(parents=True, exist_ok=True)
        program, *arguments = (word.format(port=self.port, second_port=second_port) for word in self.kind.words)
        path = sys.executable if program == "python" else VENV / "bin" / program
        super().__init__(
            [path, *arguments],
            log=folder / f"{name}.log",
            cwd=APPS,
            env={"HOLD_FOLDER": str(self.hold_folder), "PYTHONPATH": str(APPS)},
        )
        self.wait_for_port(self.port)
        self.wait_for_port(second_port)

    def wait_until_held(self, token: str):
        """Until the application has a request that waits for `token`."""
        self.wait_for_output(f"holding {token}\n")

    def release(self, token: str):
        """Lets the application go on."""
        (self.hold_folder / token).touch()
