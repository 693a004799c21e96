"""Starts programs, waits for them by condition, ends them by process id, and keeps what they said."""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"

#: Every process that runs now; conftest.py shows their output when a test fails.
running: list["Process"] = []

_ports_given: set[int] = set()


def free_port() -> int:
    """A port nobody listens on.

    Taken from below the range that the kernel gives to outgoing connections, so that none of those can take it
    between this call and the bind of the program it is for.
    """
    for _ in range(1000):
        port = random.randint(20000, 32000)
        if port in _ports_given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _ports_given.add(port)
        return port
    raise RuntimeError("failed to find a free port between 20000 and 32000")


def wait_until(condition, what: str, seconds: float = 15):
    """Returns the first true value of `condition`; raises with `what` if there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Process:
    """A program with its output in a file. Its own session, so that nothing outlives it."""

    def __init__(self, words, *, log: Path, env=None, cwd=None):
        self.words = [str(word) for word in words]
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                self.words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=cwd,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | (env or {}),
            )
        running.append(self)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def has_said(self, text: str) -> bool:
        return text in self.output()

    def wait_for_output(self, text: str, seconds: float = 15):
        def said_or_ended():
            if self.has_said(text):
                return True
            if self.popen.poll() is not None:
                raise RuntimeError(f"{self.words[0]} ended with {self.popen.returncode}:\n{self.output()}")
            return False

        wait_until(said_or_ended, f"{self.words[0]} to say '{text}'", seconds)

    def wait_for_port(self, port: int, seconds: float = 15):
        def accepts_or_ended():
            if self.popen.poll() is not None:
                raise RuntimeError(f"{self.words[0]} ended with {self.popen.returncode}:\n{self.output()}")
            return accepts(port)

        wait_until(accepts_or_ended, f"{self.words[0]} to accept on port {port}", seconds)

    def children(self) -> list[int]:
        try:
            return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def signal(self, number: int):
        os.kill(self.pid, number)

    def wait(self, seconds: float = 15) -> int:
        return self.popen.wait(seconds)

    def stop(self):
        """Ends the process and everything in its session, politely first."""
        if self in running:
            running.remove(self)
        if self.popen.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(3)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
