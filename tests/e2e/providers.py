"""The simulator of AI providers, as a process: `crates/testkit/src/provider.rs` says what it does by the name of a model."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path

from processes import ROOT

#: What every model says, where its name does not say otherwise.
TEXT = "Hello from the provider"
WORD = "Hello"


class Provider:
    """A running simulator. It speaks each protocol at its vendor's own place, below `url`."""

    def __init__(self):
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        program = target / "debug" / "provider"
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def _ask(self, path: str, method: str = "GET"):
        request = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    @property
    def requests(self) -> list[dict]:
        """All that came: method, path, headers by their names in small letters, model, body, and its bytes as Latin-1."""
        return self._ask("/_seen")

    def asked(self, model: str) -> list[dict]:
        return [one for one in self.requests if one["model"] == model]

    def go_on(self):
        """Lets the models that are silent answer, or end."""
        self._ask("/_go", "POST")

    def hold(self):
        self._ask("/_go", "DELETE")

    def post(self, path: str, body: dict) -> bytes:
        """What it says to one who asks without Clearway."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()
