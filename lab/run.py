"""Runs one scenario of the lab and judges what the doctor says to it.

`python lab/run.py FAMILY/NAME --clearway BINARY --folder DIR [--without root|proxy-logs|server-logs]` needs root: it makes
namespaces. Writes DIR/result.json and leaves the logs and the report there.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import harness  # noqa: E402
import judge  # noqa: E402


def load(name: str):
    spec = importlib.util.spec_from_file_location(name.replace("/", "."), HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outside(arguments):
    """Makes the folders and the namespaces, and goes on within them."""
    for part in ("srv", "log", "nginx"):
        (arguments.folder / part).mkdir(parents=True, exist_ok=True)
    words = ["unshare", "--net", "--mount", "--ipc", "--uts", "--fork", "--kill-child"]
    # The kernel's log has the numbers that processes have outside.
    if getattr(load(arguments.name), "PIDS", "own") == "own":
        words += ["--pid", "--mount-proc"]
    return subprocess.run([*words, sys.executable, __file__, "--inside", *sys.argv[1:]], check=False).returncode


def mount(arguments):
    def run(*words):
        subprocess.run(list(map(str, words)), check=True)

    run("mount", "--make-rprivate", "/")
    run("ip", "link", "set", "lo", "up")
    # Bound before they are hidden by what is mounted over their parents.
    for part, place in (("log", "/var/log"), ("nginx", "/etc/nginx")):
        if place == "/etc/nginx":
            (arguments.folder / part / "uwsgi_params").write_bytes(Path("/etc/nginx/uwsgi_params").read_bytes())
        run("mount", "--bind", arguments.folder / part, place)
    names = arguments.folder / "resolv.conf"
    names.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    run("mount", "--bind", names, "/etc/resolv.conf")
    hosts = arguments.folder / "hosts"
    hosts.write_text("127.0.0.1 localhost shop.example\n::1 localhost\n")
    run("mount", "--bind", hosts, "/etc/hosts")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "lab", "/srv")
    open_to_others(run, Path(sys.base_prefix))
    Path("/srv/clearway").write_bytes(arguments.clearway.read_bytes())
    Path("/srv/clearway").chmod(0o755)
    Path("/srv/shop").mkdir()
    run("mount", "--bind", arguments.folder / "srv", "/srv/shop")
    for place in ("/run", "/dev/shm"):
        run("mount", "-t", "tmpfs", "-o", "mode=1777", "lab", place)
    # Sockets of databases and the like; the results of the scenario may lie there, too.
    if not arguments.folder.resolve().is_relative_to("/tmp"):
        run("mount", "-t", "tmpfs", "-o", "mode=1777", "lab", "/tmp")


def open_to_others(run, prefix: Path):
    """Where Python lies in a home that others may not enter, servers that run as www-data need a way to it."""
    closed = [folder for folder in prefix.parents if folder.stat().st_mode & 0o001 == 0]
    if not closed:
        return
    kept = Path("/srv/python")
    kept.mkdir()
    run("mount", "--bind", prefix, kept)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "lab", closed[-1])
    prefix.mkdir(parents=True)
    run("mount", "--move", kept, prefix)
    kept.rmdir()


def doctor(arguments, module) -> dict:
    words = ["/srv/clearway", "doctor", getattr(module, "URL", "http://shop.example/"), "--format", "json"]
    if arguments.without == "root":
        words = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=adm", *words]
    # py-spy, as somebody who has it installed has it.
    environment = os.environ | {"PATH": f"{harness.VENV}/bin:{os.environ['PATH']}"}
    started = time.monotonic()
    result = subprocess.run(words, capture_output=True, text=True, timeout=120, cwd="/", env=environment, check=False)
    elapsed = time.monotonic() - started
    (arguments.folder / "report.json").write_text(result.stdout)
    if result.returncode == 3 or not result.stdout:
        raise harness.Failed(f"the doctor failed: {result.stderr}")
    return {"report": json.loads(result.stdout), "seconds": round(elapsed, 2), "exit": result.returncode}


def inside(arguments) -> int:
    mount(arguments)
    module = load(arguments.name)
    lab = harness.Lab(arguments.name, arguments.without)
    result = {"scenario": arguments.name, "without": arguments.without, "about": module.__doc__.strip().splitlines()[0]}
    try:
        module.run(lab)
        seen = doctor(arguments, module)
        result |= {"proven": True, "seconds": seen["seconds"], "passive": seen["report"]["passive"]}
        result |= judge.verdict(module, seen["report"], whole=arguments.without is None)
    except Exception as error:
        result |= {"proven": False, "right": False, "why": f"{type(error).__name__}: {error}"}
        if not isinstance(error, harness.Failed):
            traceback.print_exc()
    finally:
        lab.end()
    (arguments.folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--clearway", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--without", choices=["root", "proxy-logs", "server-logs"])
    parser.add_argument("--inside", action="store_true")
    arguments = parser.parse_args()
    return inside(arguments) if arguments.inside else outside(arguments)


if __name__ == "__main__":
    sys.exit(main())
