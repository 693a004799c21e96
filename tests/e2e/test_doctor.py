"""`clearway doctor` and `clearway explain`, as whoever is woken at night runs them."""

import json
import socket
import tarfile

import jsonschema
import pytest

from gateway import command
from processes import ROOT

REFUSED = (
    "2026/11/23 07:06:57 [error] 812#812: *5 connect() failed (111: Connection refused) while connecting to upstream, "
    'client: 10.0.0.9, server: shop.example, request: "GET /cart?token=s3cret HTTP/1.1", '
    'upstream: "http://127.0.0.1:8000/cart", host: "shop.example"\n'
)
NOTHING_LISTENS = (
    'target addr=127.0.0.1:8000 listening=no source="socket table" at=/proc/net/tcp text="nothing listens there"\n'
)


def doctor(*arguments):
    return command("doctor", *arguments, timeout=60)


def test_a_bundle_is_judged_with_its_evidence(tmp_path):
    log = tmp_path / "files/var/log/nginx/error.log"
    log.parent.mkdir(parents=True)
    log.write_text(REFUSED)
    (tmp_path / "evidence.txt").write_text(NOTHING_LISTENS)
    done = doctor("--bundle", tmp_path, "--format", "json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["version"] == 1 and not report["healthy"]
    first = report["findings"][0]
    assert first["cause"] == "upstream-not-running"
    assert first["confidence"] > 0.8
    assert {"/var/log/nginx/error.log:1", "/proc/net/tcp"} == {item["place"] for item in first["for"]}
    assert first["fix"]["summary"] and first["fix"]["verify"]


def test_a_log_alone_is_inconclusive_and_says_what_is_missing(tmp_path):
    log = tmp_path / "error.log"
    log.write_text(REFUSED)
    done = doctor("--log", log, "--format", "json")
    assert done.returncode == 2, done.stdout
    report = json.loads(done.stdout)
    assert report["next"]
    assert all(finding["confidence"] < 0.5 for finding in report["findings"])


def test_what_keeps_the_doctor_from_judging_has_a_code_of_its_own(tmp_path):
    assert doctor("--bundle", tmp_path / "none").returncode == 3
    assert doctor("--no-such-option").returncode == 3
    assert doctor("ftp://x/").returncode == 3
    log = tmp_path / "error.log"
    log.write_text(REFUSED)
    unwritten = doctor("--log", log, "--output", tmp_path / "none" / "report")
    assert unwritten.returncode == 3 and "failed to write" in unwritten.stderr


def test_a_machine_is_looked_at_without_any_hint():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    # Nobody listens at the port any more.
    done = doctor(f"http://127.0.0.1:{port}/", "--format", "json", "--budget", "2s")
    assert done.returncode in (1, 2), done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["target"] == f"http://127.0.0.1:{port}/"
    assert any("refused" in probe["result"] for probe in report["probes"])


def test_pages_are_printed_and_names_are_suggested():
    page = command("explain", "oom-kill-cgroup")
    assert page.returncode == 0 and "## Fix" in page.stdout and "```rule" not in page.stdout
    assert "early-close" in command("explain", "--list").stdout
    missed = command("explain", "oom-kil-cgroup")
    assert missed.returncode == 1 and "did you mean 'oom-kill-cgroup'" in missed.stderr


def test_the_json_report_keeps_to_its_schema(tmp_path):
    log = tmp_path / "error.log"
    log.write_text(REFUSED)
    schema = json.loads((ROOT / "docs/report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    (tmp_path / "evidence.txt").write_text(NOTHING_LISTENS)
    for arguments in (["--log", log], ["--bundle", tmp_path], ["http://127.0.0.1:1/", "--budget", "1s"]):
        report = json.loads(doctor(*arguments, "--format", "json").stdout)
        jsonschema.validate(report, schema, jsonschema.Draft202012Validator)


@pytest.mark.parametrize("form, begins", [("markdown", "# clearway doctor: `"), ("html", "<!doctype html>\n")])
def test_a_report_for_others_is_written_into_a_file(tmp_path, form, begins):
    log = tmp_path / "files/var/log/nginx/error.log"
    log.parent.mkdir(parents=True)
    log.write_text(REFUSED.replace("GET /cart", "GET /<script>alert(1)</script>"))
    (tmp_path / "evidence.txt").write_text(NOTHING_LISTENS)
    written = tmp_path / "report"
    done = doctor("--bundle", tmp_path, "--format", form, "--output", written)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    text = written.read_text()
    assert text.startswith(begins)
    assert "upstream-not-running" in text and "/var/log/nginx/error.log:1" in text
    if form == "html":
        assert "<script>" not in text and "http-equiv" in text


def test_what_was_collected_is_judged_elsewhere(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    bundle = tmp_path / "bundle.tar.gz"
    words = ("collect", f"http://127.0.0.1:{port}/?token=s3cret-of-the-test", "--budget", "1s", "--output", bundle)
    refused = command(*words, timeout=60)
    assert refused.returncode == 1 and "say --yes" in refused.stderr and not bundle.exists()
    done = command(*words, "--yes", timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{bundle}\n" and "will contain, with secrets taken out:" in done.stderr
    assert bundle.stat().st_mode & 0o777 == 0o600
    with tarfile.open(bundle) as archive:
        for member in archive:
            assert b"s3cret-of-the-test" not in archive.extractfile(member).read(), member.name
    again = command(*words, "--yes", timeout=60)
    assert again.returncode == 1 and "--force" in again.stderr
    judged = doctor("--bundle", bundle, "--format", "json")
    assert judged.returncode in (1, 2), judged.stderr
    assert json.loads(judged.stdout)["target"].startswith(f"http://127.0.0.1:{port}/")
