"""Suites that others wrote, run with and without Clearway between."""

import json
import subprocess

import pytest

from processes import VENV

#: Compression is between the ends, and its cases take minutes.
EXCLUDED = ("12.*", "13.*")


def websocket_cases(port: int, folder) -> dict[str, tuple]:
    """What the fuzzing client of kosoku thinks of the server at `port`, by case."""
    words = [VENV / "bin" / "kosoku", "--parallelism", "4", "--outdir", folder]
    for case in EXCLUDED:
        words += ["--exclude", case]
    # It exits with 1 when the server itself fails a case; what counts here is that Clearway makes no difference.
    done = subprocess.run([*words, f"127.0.0.1:{port}"], capture_output=True, timeout=100)
    assert done.returncode in (0, 1), done.stderr
    (results,) = json.loads((folder / "index.json").read_text()).values()
    # How strictly a case passes depends on how its bytes were cut on the way.
    return {case: (result["behavior"] == "FAILED", result["behaviorClose"]) for case, result in results.items()}


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_websocket_cases_make_no_difference(server, through, tmp_path):
    direct = websocket_cases(server("uvicorn-h11").port, tmp_path / "direct")
    proxied = websocket_cases(through("uvicorn-h11").port, tmp_path / "proxied")
    assert len(direct) > 290
    assert proxied == direct
