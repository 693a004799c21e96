"""Real clients in front of Clearway."""

import asyncio
import hashlib
import json
import subprocess

import httpx
import pytest
import requests

SERVER = "uvicorn-httptools"


@pytest.fixture
def gateway(through):
    return through(SERVER)


def curl(*words, send: bytes | None = None) -> str:
    result = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "15", *words],
        capture_output=True,
        input=send,
        check=True,
    )
    return result.stdout.decode()


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2-prior-knowledge"])
def test_curl(gateway, version):
    seen = json.loads(curl(version, f"{gateway.url}/items?a=1"))
    assert (seen["path"], seen["query"]) == ("/items", "a=1")
    body = b"0123456789" * 100_000
    # A body from standard input has no length: chunked in HTTP/1.1. HTTP/1.0 needs one.
    how = ["--data-binary", "@-"] if version == "--http1.0" else ["--upload-file", "-"]
    digest = json.loads(curl(version, "--request", "POST", *how, f"{gateway.url}/_/upload", send=body))
    assert digest == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    status = curl(version, "--head", "--write-out", "%{http_code}", "--output", "/dev/null", f"{gateway.url}/_/sized?bytes=9")
    assert status == "200"


def test_curl_upgrades_to_nothing_but_what_the_application_wants(gateway):
    """`--http2` offers `Upgrade: h2c`, which RFC 9113 has abolished: answered in HTTP/1.1."""
    assert curl("--http2", "--write-out", "%{http_version} %{http_code}", "--output", "/dev/null", gateway.url) == "1.1 200"


def test_requests(gateway):
    with requests.Session() as session:
        for number in range(20):
            seen = session.get(f"{gateway.url}/{number}", params={"q": "ü"}, timeout=15).json()
            assert (seen["path"], seen["query"]) == (f"/{number}", "q=%C3%BC")
        parts = (b"part %d" % number for number in range(100))
        answer = session.post(f"{gateway.url}/_/upload", data=parts, timeout=15)
        assert answer.json()["bytes"] == 690
        answer = session.post(f"{gateway.url}/form", data={"a": "1"}, files={"f": ("n.txt", b"text")}, timeout=15)
        assert dict(answer.json()["headers"])["content-type"].startswith("multipart/form-data; boundary=")
        with session.get(f"{gateway.url}/_/stream?count=3", stream=True, timeout=15) as stream:
            assert b"".join(stream.iter_content(None)) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize("protocol", [{"http1": True}, {"http1": False, "http2": True}], ids=["http1", "h2c"])
def test_httpx(gateway, protocol):
    with httpx.Client(base_url=gateway.url, timeout=15, **protocol) as client:
        for number in range(20):
            answer = client.get(f"/{number}", params={"q": "ü"})
            assert answer.http_version == ("HTTP/2" if "http2" in protocol else "HTTP/1.1")
            assert answer.json()["path"] == f"/{number}"
        body = b"0123456789" * 100_000
        assert client.post("/_/upload", content=body).json()["sha256"] == hashlib.sha256(body).hexdigest()
        parts = (b"part %d" % number for number in range(100))
        assert client.post("/_/upload", content=parts).json()["bytes"] == 690
        assert len(client.get("/_/sized?bytes=5000000").content) == 5_000_000
        assert client.head("/_/sized?bytes=9").headers["content-length"] == "9"
        with client.stream("GET", "/_/stream?count=3") as stream:
            assert b"".join(stream.iter_bytes()) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_httpx_many_streams_at_once(gateway):
    async def fetch_all():
        async with httpx.AsyncClient(base_url=gateway.url, http1=False, http2=True, timeout=15) as client:
            return await asyncio.gather(*(client.get(f"/{number}") for number in range(100)))

    answers = asyncio.run(fetch_all())
    assert [answer.json()["path"] for answer in answers] == [f"/{number}" for number in range(100)]
