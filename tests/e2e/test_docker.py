"""`clearway doctor` and Docker's socket, whose answers have the shape of the Engine API 1.47."""

import http.server
import json
import socketserver
import threading

import pytest

from gateway import command
from processes import free_port

ID = "4f66ad9a0b2e"


def container(state, **inspected):
    return {
        "Id": ID,
        "Name": "/shop",
        "RestartCount": 0,
        "LogPath": "",
        "State": {"Status": "running", "ExitCode": 0, "OOMKilled": False, "FinishedAt": "0001-01-01T00:00:00Z"} | state,
        "Config": {"ExposedPorts": {"8000/tcp": {}}},
        "NetworkSettings": {"Networks": {"web": {"IPAddress": "172.18.0.3"}}},
    } | inspected


@pytest.fixture
def docker(tmp_path):
    """`docker(container)`: a daemon with one container; returns where it listens."""
    started = []

    def start(inspected):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                answers = {"/containers/json": [{"Id": ID}], f"/containers/{ID}/json": inspected}
                text = json.dumps(answers.get(self.path.partition("?")[0])).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def address_string(self):
                return "docker"

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        path = tmp_path / "docker.sock"
        server = Server(str(path), Handler)
        started.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return path

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def judge(path):
    done = command(
        "doctor", f"http://127.0.0.1:{free_port()}/", "--budget", "1s", "--format", "json",
        env={"DOCKER_HOST": f"unix://{path}"}, timeout=60,
    )
    assert done.returncode in (1, 2), done.stderr
    return json.loads(done.stdout)


def test_a_container_that_was_killed_for_its_memory(docker, tmp_path):
    ended = {"Status": "exited", "ExitCode": 137, "OOMKilled": True, "FinishedAt": "2026-11-26T10:00:00.123456789Z"}
    report = judge(docker(container(ended)))
    finding = next(finding for finding in report["findings"] if finding["cause"] == "oom-kill-cgroup")
    assert finding["confidence"] >= 0.5
    assert finding["for"][0]["text"] == "container shop is exited, ended with 137 for its memory"
    assert finding["for"][0]["place"] == "container/shop"


def test_a_container_that_is_started_again_and_again(docker):
    report = judge(docker(container({"Status": "restarting", "ExitCode": 3}, RestartCount=9)))
    assert "crash-loop" in [finding["cause"] for finding in report["findings"]], report
    finding = next(finding for finding in report["findings"] if finding["cause"] == "crash-loop")
    assert finding["confidence"] >= 0.5
    assert finding["for"][0]["text"] == "container shop is restarting, ended with 3, started again 9 times"


def test_a_daemon_that_may_not_be_asked_is_skipped(tmp_path):
    path = tmp_path / "docker.sock"
    path.touch()
    report = judge(path)
    assert [item["check"] for item in report["skipped"] if "docker" in item["check"]] == [f"containers by {path}"]
