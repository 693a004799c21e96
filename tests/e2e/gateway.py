"""Starts the `clearway` binary under test and asks it questions as a person would: by its command line and its ports."""

import json
import os
import re
import subprocess
from pathlib import Path

from processes import ROOT, Process, wait_until


def binary() -> Path:
    """`CLEARWAY_BIN`, else what `cargo build` makes."""
    named = os.environ.get("CLEARWAY_BIN")
    if named:
        return Path(named).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "debug" / "clearway"


def command(*words, env=None, timeout: float = 20) -> subprocess.CompletedProcess:
    """Runs the binary to its end."""
    return subprocess.run(
        [str(binary()), *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | (env or {}),
    )


class Gateway(Process):
    """A running Clearway. Its ports are those it says it listens on."""

    def __init__(self, *words, data: Path, log: Path, env=None, listen=("127.0.0.1:0",), under=(), wait=True):
        """`under`: a command that turns into the one that follows it."""
        self.data = data
        flags = [word for address in listen for word in ("--listen", address)]
        super().__init__(
            [*under, binary(), "up", *words, *flags, "--admin", "127.0.0.1:0", "--data", data],
            log=log,
            env=env,
        )
        if wait:
            self.wait_for_output("management on http://")

    def _addresses(self, what: str) -> list[tuple[str, int]]:
        found = re.findall(rf"{what} on (https?)://[^\s:]*:(\d+)", self.output())
        return [(scheme, int(port)) for scheme, port in found]

    @property
    def port(self) -> int:
        return self._addresses("listening")[0][1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def management(self) -> str:
        return f"http://127.0.0.1:{self._addresses('management')[0][1]}"

    def ask(self, *words) -> subprocess.CompletedProcess:
        """Runs a command that talks to this process."""
        result = command(*words, "--data", self.data)
        assert result.returncode == 0, f"{words}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    def calls(self, *flags) -> list[dict]:
        """The exchanges that `clearway calls` lists."""
        return parse_json(self.ask("calls", *flags, "--format", "json").stdout)

    def upstreams(self) -> list[dict]:
        """What `clearway upstreams` lists."""
        return parse_json(self.ask("upstreams", "--format", "json").stdout)

    def call(self, *flags) -> dict:
        """The only exchange that `clearway calls` lists, as soon as it is recorded."""
        found = wait_until(lambda: self.calls(*flags), f"an exchange with {flags}")
        assert len(found) == 1, found
        return found[0]


def parse_json(text: str) -> list[dict]:
    """A listing: one JSON document a line."""
    return [json.loads(line) for line in text.splitlines() if line.strip()]
