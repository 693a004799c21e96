"""What the applications behind Clearway have in common: the form in which they report a request, and how they wait.

A request to any path is answered with what the application saw of it. Paths below `/_/` do what their name says.
"""

import asyncio
import base64
import hashlib
import json
import os
import time
from pathlib import Path
from urllib.parse import parse_qs

#: A request is held until the test makes a file of this name here.
HOLD_FOLDER = Path(os.environ.get("HOLD_FOLDER", "/nonexistent"))


def report(*, method, path, raw_path, query, headers, body, version) -> bytes:
    """What was seen of a request, as JSON. Names of headers in lower case, values as latin-1."""
    seen = {
        "method": method,
        "path": path,
        "raw_path": raw_path,
        "query": query,
        "headers": headers,
        "body": base64.b64encode(body).decode(),
        "version": version,
        "worker": os.getpid(),
    }
    return json.dumps(seen).encode()


def digest(body: bytes) -> bytes:
    return json.dumps({"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}).encode()


def parameters(query: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(query).items()}


def say(text: str):
    """Tells the test, which reads the log."""
    print(text, flush=True)


def hold(token: str):
    say(f"holding {token}")
    while not (HOLD_FOLDER / token).exists():
        time.sleep(0.01)


async def hold_async(token: str):
    say(f"holding {token}")
    while not (HOLD_FOLDER / token).exists():
        await asyncio.sleep(0.01)
