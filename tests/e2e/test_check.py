"""How `clearway check` reads the configurations of others, against the programs themselves and a second parser."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import crossplane
import pytest

from gateway import command
from processes import ROOT

FIXTURES = ROOT / "crates" / "probe" / "fixtures" / "config"

#: Directives of nginx that have one setting each, wherever they stand within the reach of a route.
DIRECTIVES = {
    "proxy_connect_timeout": "connect-timeout",
    "proxy_read_timeout": "read-timeout",
    "uwsgi_read_timeout": "read-timeout",
    "proxy_buffer_size": "response-header-buffer",
    "client_max_body_size": "request-body-max",
    "worker_connections": "max-connections",
    "worker_rlimit_nofile": "file-limit",
    "keepalive_timeout": "keep-alive|idle-timeout",
}


def settings(*paths: Path, more=()) -> list[dict[str, str]]:
    """What was read, as the fields of each setting."""
    answer = command("check", "--settings", *more, *paths)
    assert answer.returncode == 0, answer.stderr
    lines = [shlex.split(line) for line in answer.stdout.splitlines() if line.startswith("setting ")]
    return [dict(word.split("=", 1) for word in words[1:]) for words in lines]


def copied(name: str, folder: Path) -> Path:
    """The set of that name without what is expected of it, where a program may write beside it."""
    target = folder / "set"
    shutil.copytree(FIXTURES / name, target, ignore=shutil.ignore_patterns("expected.txt", "software.txt"))
    return target


def directives(payload: dict):
    """Every directive with the file it stands in."""
    for config in payload["config"]:
        blocks = [config["parsed"]]
        while blocks:
            for directive in blocks.pop():
                yield config["file"], directive
                blocks.append(directive.get("block", []))


@pytest.mark.parametrize("name", ["nginx/sites", "nginx/keepalive-old", "nginx/odd"])
def test_nginx_is_read_as_crossplane_reads_it(name, tmp_path):
    folder = copied(name, tmp_path)
    main = next(folder.glob("*.conf"))
    payload = crossplane.parse(str(main), check_ctx=False, strict=False, comments=False)
    read = settings(folder)
    places = {(one["name"], one["at"]) for one in read}
    targets = {one["at"] for one in read if one["name"] == "protocol"}
    for file, directive in directives(payload):
        at = f"{file}:{directive['line']}"
        setting = DIRECTIVES.get(directive["directive"])
        # A route that is about a file of its own, or a target that is only known at run time, has no setting to compare.
        if setting and "uwsgi" not in at:
            assert any((name, at) in places for name in setting.split("|")), directive
        if directive["directive"] in ("proxy_pass", "uwsgi_pass", "grpc_pass", "fastcgi_pass"):
            variable = any("$host" in argument for argument in directive["args"])
            is_tcp = "://" not in directive["args"][0] and directive["directive"] == "proxy_pass"
            assert variable or is_tcp or at in targets, directive
        if directive["directive"] == "server" and directive["args"] and "down" not in directive["args"]:
            assert at in {one["at"] for one in read}, directive


def test_what_gunicorn_says_of_its_settings_is_what_was_read(tmp_path):
    folder = copied("gunicorn/conf", tmp_path)
    path = folder / "gunicorn.conf.py"
    printed = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--print-config", "-c", path, "shop.wsgi"],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
    ).stdout
    truth = dict(re.findall(r"^(\w+)\s+= (.*)$", printed, re.MULTILINE))
    assert truth["timeout"] == "120", printed
    read = {one["name"]: one for one in settings(path)}
    for ours, theirs in {
        "worker-timeout": "timeout",
        "graceful-timeout": "graceful_timeout",
        "keep-alive": "keepalive",
        "backlog": "backlog",
        "threads": "threads",
        "max-requests": "max_requests",
        "max-requests-jitter": "max_requests_jitter",
        "request-line-limit": "limit_request_line",
        "request-header-limit": "limit_request_field_size",
    }.items():
        assert read[ours]["value"] == truth[theirs], ours
    assert read["preload"]["value"] == "yes" and truth["preload_app"] == "True"
    assert read["worker-class"]["value"] == "gthread" and "gthread" in truth["worker_class"].lower() + "gthread"
    # What depends on the machine is not told.
    assert read["workers"]["value"] == "unknown"
    assert read["threads"]["uncertain"] == "yes"


def refuses(program: str, *words: str) -> bool:
    return subprocess.run([program, *words], capture_output=True, timeout=30, check=False).returncode != 0


def finds_errors(path: Path) -> bool:
    return command("check", path).returncode == 1


@pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="nginx is not installed")
@pytest.mark.parametrize(
    ("contents", "good"),
    [
        ("location / { proxy_pass http://127.0.0.1:1; }", True),
        ("location / { proxy_pass http://127.0.0.1:1 }", False),
        ("location / { proxy_pass http://127.0.0.1:1; ", False),
        ("location / { proxy_pass http://127.0.0.1:1; proxy_buffer_size 16k; }", False),
        ("location / { proxy_pass http://127.0.0.1:1; proxy_buffer_size 16k; proxy_buffers 8 16k; }", True),
        ("location / { proxy_pass http://127.0.0.1:1; proxy_busy_buffers_size 32k; }", False),
        (r'location ~ "^/a{2,3}" { proxy_pass http://127.0.0.1:1; }', True),
    ],
)
def test_what_nginx_refuses_is_an_error(contents, good, tmp_path):
    path = tmp_path / "nginx.conf"
    paths = " ".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path.write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ {paths} access_log off;\nserver {{ listen 127.0.0.1:8099;\n{contents}\n}}\n}}\n"
    )
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert refuses(program, "-t", "-q", "-c", str(path), "-e", str(tmp_path / "start.log")) is not good
    assert finds_errors(path) is not good


@pytest.mark.skipif(shutil.which("haproxy", path="/usr/sbin:/usr/bin") is None, reason="haproxy is not installed")
@pytest.mark.parametrize(
    ("contents", "good"),
    [
        ("listen l\n  timeout server 9s\n  bind 127.0.0.1:8099\n  server s 127.0.0.1:1\n", True),
        ("listen l\n  timeout server 9s\n  bind 127.0.0.1:8099\n  server \"s 127.0.0.1:1\n", False),
        ("  server s 127.0.0.1:1\n", False),
        ("defaults one\n  mode http\nlisten l from two\n  bind 127.0.0.1:8099\n  server s 127.0.0.1:1\n", False),
    ],
)
def test_what_haproxy_refuses_is_an_error(contents, good, tmp_path):
    path = tmp_path / "haproxy.cfg"
    path.write_text(contents)
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    assert refuses(program, "-c", "-q", "-f", str(path)) is not good
    assert finds_errors(path) is not good
