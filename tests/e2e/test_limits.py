"""Limits: requests, tokens, money and requests at once, for plain APIs and AI models, across restarts."""

import concurrent.futures
import contextlib
import json
import signal
import sqlite3
import urllib.error
import urllib.request

import pytest

import gateway as clearway
from gateway import Gateway
from processes import wait_until
from providers import Provider

KEYS = {"ALICE": "alice-key-0123456789", "BOB": "bob-key-0123456789ab", "CAROL": "carol-key-0123456789"}
CONFIG = """
providers: [{{ name: openai, url: "{url}/v1", keys: [provider-secret-1] }}]
services: [{{ name: ai, ai: {{}} }}]
consumers:
  - {{ name: alice, team: red, api-keys: ["${{env:ALICE}}"] }}
  - {{ name: bob, team: red, api-keys: ["${{env:BOB}}"] }}
  - {{ name: carol, api-keys: ["${{env:CAROL}}"] }}
limits: {limits}
"""


@pytest.fixture(scope="module")
def provider():
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture
def start(provider, tmp_path):
    """Starts a gateway with these limits, in the same data directory each time."""
    started = []

    def start(limits: str) -> Gateway:
        file = tmp_path / "clearway.yaml"
        file.write_text(CONFIG.format(url=provider.url, limits=limits))
        started.append(Gateway(file, data=tmp_path / "data", log=tmp_path / f"log{len(started)}", env=KEYS))
        return started[-1]

    yield start
    for gateway in started:
        gateway.stop()


def ask(gateway, who: str, model: str = "openai/gpt-4o-mini", path: str = "/v1/chat/completions", **more):
    """Status, headers and body of an answer."""
    body = {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]} | more
    headers = {"authorization": f"Bearer {KEYS[who]}", "content-type": "application/json"}
    request = urllib.request.Request(gateway.url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, json.loads(refused.read())


def test_requests_per_consumer_are_told_in_the_words_of_the_protocol(start, provider):
    ai = start("[{ name: few, by: [consumer], requests: 2/month }]")
    before = len(provider.requests)
    assert [ask(ai, "ALICE")[0] for _ in range(2)] == [200, 200]
    status, headers, body = ask(ai, "ALICE")
    assert status == 429 and int(headers["retry-after"]) >= 1
    assert body["error"]["code"] == "limit-exceeded"
    assert body["error"]["message"] == "limit `few` of 2 requests per month is used up"
    status, _, body = ask(ai, "ALICE", path="/v1/messages")
    assert status == 429 and body["error"]["type"] == "rate_limit_error"
    assert ask(ai, "BOB")[0] == 200
    assert len(provider.requests) - before == 3, "what is refused never reaches the provider"
    call = wait_until(lambda: ai.calls("--fault", "limit-exceeded"), "the record of a refusal")[0]
    assert call["ending"]["fault"] == "limit-exceeded" and call["consumer"] == "alice"


def test_a_team_shares_tokens_and_what_was_reserved_comes_back(start):
    ai = start("[{ name: shared, by: [team], consumers: [alice, bob], tokens: 80/month }]")
    # Each reserves 20 tokens and a quarter of its bytes, 47 in all, and uses 14.
    assert [ask(ai, who)[0] for who in ("ALICE", "BOB", "ALICE", "BOB")] == [200, 200, 200, 429]
    assert ask(ai, "CAROL")[0] == 200


def test_a_failure_gives_back_what_was_reserved(start):
    ai = start("[{ name: tokens, by: [consumer], tokens: 100/month }]")
    for _ in range(5):
        assert ask(ai, "ALICE", model="openai/server-error", max_tokens=90)[0] == 502
    assert ask(ai, "ALICE")[0] == 200


def test_money_is_counted_for_the_models_whose_price_is_known(start):
    ai = start("[{ name: budget, by: [consumer], cost: 0.000025/month }]")
    # 10 tokens in and 4 out of gpt-4o-mini: 0.15 and 0.60 dollars per million, of which 3 in are cached at half the price.
    status, headers, _ = ask(ai, "ALICE")
    cost = int(headers["x-clearway-cost-nanodollars"])
    assert status == 200 and cost == 7 * 150 + 3 * 75 + 4 * 600
    # Each reserves about 16,000 billionths.
    assert [ask(ai, "ALICE")[0] for _ in range(4)] == [200, 200, 429, 429]
    assert ask(ai, "ALICE", model="openai/priceless")[0] == 200, "what it costs nobody knows"
    assert ask(ai, "BOB")[0] == 200


def test_requests_at_once(start, provider):
    ai = start("[{ name: one, by: [consumer], models: [openai/silent-answer], concurrency: 1 }]")
    provider.hold()
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        first = threads.submit(ask, ai, "ALICE", "openai/silent-answer")
        wait_until(lambda: provider.asked("silent-answer"), "the first request at the provider")
        assert ask(ai, "ALICE", model="openai/silent-answer")[0] == 429
        assert ask(ai, "ALICE")[0] == 200
        provider.go_on()
        assert first.result()[0] == 200
    assert ask(ai, "ALICE", model="openai/silent-answer")[0] == 200


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_counts_outlive_the_process(start, how):
    limits = "[{ name: few, requests: 3/month }]"
    ai = start(limits)
    assert ask(ai, "ALICE")[0] == 200 and ask(ai, "BOB")[0] == 200
    if how == signal.SIGKILL:
        # Written every second.
        wait_until(lambda: " 2\t" in counts(ai), "the counts on disk")
    ai.signal(how)
    ai.wait()
    again = start(limits)
    assert [ask(again, "ALICE")[0] for _ in range(2)] == [200, 429]


def counts(gateway) -> str:
    """What a process that comes after would read."""
    with contextlib.closing(sqlite3.connect(f"file:{gateway.data}/clearway.db?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT value FROM meta WHERE name = 'limit-counts'").fetchall()
    return "".join(value for (value,) in rows)


def test_plain_apis_are_limited_too(provider, tmp_path, start_gateway):
    config = f"services: [{{ name: shop, to: '{provider.url}' }}]\nlimits: [{{ name: few, by: [service], requests: 1/month }}]\n"
    gateway = start_gateway(config=config)
    with urllib.request.urlopen(f"{gateway.url}/_seen", timeout=10) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{gateway.url}/_seen", timeout=10)
    assert refused.value.code == 429 and json.load(refused.value)["fault"] == "limit-exceeded"


def test_mistakes_are_found_by_check(tmp_path):
    file = tmp_path / "clearway.yaml"
    file.write_text("limits: [{ name: a }, { name: b, services: [nobody], requests: 5/week }, { name: c, consumers: [x], requests: 1/day }]\n")
    result = clearway.command("check", file)
    text = result.stdout + result.stderr
    assert result.returncode == 1
    for part in ("limit `a` limits nothing", "there is no service `nobody`", "such as 60/minute", "consumers"):
        assert part in text, text
