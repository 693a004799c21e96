"""Every protocol of clients with every protocol of providers: answers, streams, tools, thoughts, and every way to fail."""

import concurrent.futures
import json
import urllib.error
import urllib.request

import pytest

from dialects import CLIENTS, ENDS
from processes import wait_until
from providers import TEXT, WORD, Provider

PROVIDERS = ["anthropic", "bedrock", "chat", "cohere", "gemini", "responses"]
#: A lane for each protocol; AWS's key is a pair.
CONFIG = """
providers:
  - {{ name: anthropic, url: "{url}/v1", keys: [provider-secret-1] }}
  - {{ name: bedrock, url: "{url}", keys: ["AKIDPROVIDER:provider-secret-1"] }}
  - {{ name: chat, url: "{url}/v1", keys: [provider-secret-1] }}
  - {{ name: cohere, speaks: [cohere], url: "{url}/v2", keys: [provider-secret-1] }}
  - {{ name: gemini, speaks: [gemini], url: "{url}/v1beta", keys: [provider-secret-1] }}
  - {{ name: responses, speaks: [responses], url: "{url}/v1", keys: [provider-secret-1] }}
services: [{{ name: ai, ai: {{ key: false }} }}]
"""


@pytest.fixture(scope="module")
def provider():
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture
def ai(provider, start_gateway):
    """A gateway of the test's own, whose lanes have not failed yet."""
    return start_gateway(config=CONFIG.format(url=provider.url))


def post(gateway, client, model, **more):
    """Status, headers and body of an answer."""
    stream = more.get("stream", False)
    request = urllib.request.Request(gateway.url + client.path(model, stream), method="POST")
    request.data = json.dumps(client.ask(model, **more)).encode()
    request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, refused.read()


def hear(gateway, client, model, **more):
    status, headers, body = post(gateway, client, model, **more)
    assert status == 200, body
    assert headers["set-cookie"] is None and headers["x-internal"] is None
    heard = client.stream(body) if more.get("stream") else client.whole(json.loads(body))
    assert heard.is_ended and heard.error is None, body
    return heard


@pytest.mark.parametrize("to", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_answers(ai, client, to):
    for stream in (False, True):
        heard = hear(ai, client, f"{to}/plain", stream=stream)
        assert (heard.text, heard.calls, heard.stop, heard.usage) == (TEXT, [], ENDS[client.name][0], (10, 4)), stream
        heard = hear(ai, client, f"{to}/thinks", stream=stream)
        assert (heard.text, heard.thought) == (TEXT, "They greet me."), stream
        for model, times in [("calls", 1), ("two-calls", 2)]:
            heard = hear(ai, client, f"{to}/{model}", stream=stream, tools=True)
            assert heard.calls == [("weather", {"city": "Paris"})] * times, stream
            assert (heard.text, heard.stop) == ("", ENDS[client.name][1]), stream


#: What the provider does, what the client gets, which fault, and how often the provider is asked.
FAULTS = [
    ("close", 502, "early-close", 2),
    ("reset", 502, "reset", 2),
    ("html-502", 502, "provider-failed", 2),
    ("limited", 429, "provider-rate-limited", 1),
    ("too-long", 400, None, 1),
    ("overloaded", 503, "provider-overloaded", 2),
    ("server-error", 502, "provider-failed", 2),
    ("cut-json", 502, "provider-unreadable", 2),
    ("empty", 502, "provider-unreadable", 2),
    ("error-in-200", 502, ("provider-failed", "provider-unreadable"), 2),
    ("page", 502, "provider-unreadable", 2),
    ("redirect", 502, "provider-unreadable", 2),
    ("short-body", 502, "body-truncated", 2),
]
#: These rest the key, and come last.
KEY_FAULTS = [("no-money", 502, "upstream-credentials", 1), ("bad-key", 502, "upstream-credentials", 1)]
#: In streams only. None has a status of its own any more.
STREAM_FAULTS = [
    ("cut-stream", "stream-unfinished"),
    ("reset-stream", ("body-reset", "body-truncated")),
    ("torn-stream", ("body-truncated", "stream-unfinished")),
    ("late-error", ("provider-failed", "stream-unfinished")),
]


def is_fault(found, expected) -> bool:
    return found in expected if isinstance(expected, tuple) else found == expected


def complaints_of_fault(ai, provider, client, to, stream, fault) -> list[str]:
    """What is wrong with how this fault is told."""
    name, status, expected, times = fault
    model = f"{name}.{client.name}-{to}-{stream}"
    got, headers, raw = post(ai, client, f"{to}/{model}", stream=stream)
    found = headers["x-clearway-fault"]
    wrong = []
    asked = len(provider.asked(model))
    if got != status or not is_fault(found, expected):
        wrong.append(f"{got} {found} instead of {status} {expected}: {raw[:300]}")
    if asked != times:
        wrong.append(f"the provider was asked {asked} times instead of {times}")
    if b"provider-secret-1" in raw or b"provider-internal" in raw:
        wrong.append(f"a secret in {raw}")
    try:
        code, message = client.error(json.loads(raw))
    except Exception as error:  # Whatever it is, the shape is wrong.
        return [*wrong, f"{type(error)} {error} in {raw[:300]}"]
    if found and code != found:
        wrong.append(f"code {code} instead of {found}")
    if name == "limited" and headers["retry-after"] != "7":
        wrong.append(f"Retry-After {headers['retry-after']}")
    if name == "too-long" and "maximum context length" not in message:
        wrong.append(message)
    if client.name == "bedrock" and not headers["x-amzn-ErrorType"]:
        wrong.append("no x-amzn-ErrorType")
    return wrong


def complaints_of_stream(ai, provider, client, to, fault) -> list[str]:
    name, expected = fault
    model = f"{name}.{client.name}-{to}"
    status, headers, raw = post(ai, client, f"{to}/{model}", stream=True)
    if status != 200:
        return [f"{status} {raw[:300]}"]
    heard = client.stream(raw)
    wrong = []
    if WORD not in heard.text:
        wrong.append(f"the words before the fault are lost: {raw[:300]}")
    if heard.is_ended or heard.stop:
        wrong.append(f"completed by nobody: {raw[-300:]}")
    if not is_fault(heard.error, expected):
        wrong.append(f"told as {heard.error} instead of {expected}: {raw[-300:]}")
    asked = len(provider.asked(model))
    if asked != 1:
        wrong.append(f"asked {asked} times though content has flowed")
    identity = headers["x-request-id"]
    kept = wait_until(lambda: [one for one in ai.calls("--limit", "200") if one["id"] == identity], "its record")[0]
    if not is_fault(kept["ending"]["fault"], expected) or not kept["ai"]["usage_is_estimated"]:
        wrong.append(f"recorded as {kept['ending']} {kept['ai']}")
    return wrong


@pytest.mark.parametrize("to", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_faults_are_told_truly(ai, provider, client, to):
    wrong = {}
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        def check(about, complaints, *words):
            found = complaints(ai, provider, client, to, *words)
            if found:
                wrong[about] = found

        for stream in (False, True):
            for fault in FAULTS:
                threads.submit(check, (fault[0], stream), complaints_of_fault, stream, fault)
        for fault in STREAM_FAULTS:
            threads.submit(check, fault[0], complaints_of_stream, fault)
    # One at a time: the key rests after each, and what rests is tried by one.
    for stream in (False, True):
        for fault in KEY_FAULTS:
            check((fault[0], stream), complaints_of_fault, stream, fault)
    assert not wrong, json.dumps({str(key): value for key, value in wrong.items()}, indent=1)


@pytest.mark.parametrize("to", PROVIDERS)
def test_no_credential_goes_where_it_does_not_belong(ai, provider, to):
    """Not the caller's to the provider, not the provider's to the caller, and neither into a log or record."""
    caller = "caller-sentinel-0123456789"
    fields = {"authorization": f"Bearer {caller}", "x-api-key": caller, "x-goog-api-key": caller, "api-key": caller, "cookie": f"a={caller}"}
    for client in CLIENTS:
        model = f"secrets.{client.name}-{to}"
        path = client.path(f"{to}/{model}", False)
        path += ("&" if "?" in path else "?") + f"key={caller}"
        body = json.dumps(client.ask(f"{to}/{model}")).encode()
        request = urllib.request.Request(ai.url + path, body, {"content-type": "application/json"} | fields)
        with urllib.request.urlopen(request, timeout=30) as answer:
            told = f"{answer.headers} {answer.read()}"
            name = answer.headers["x-request-id"]
        assert "provider-secret-1" not in told and "AKIDPROVIDER" not in told
        [sent] = provider.asked(model)
        assert caller not in json.dumps(sent), sent
        wait_until(lambda: [one for one in ai.calls("--limit", "200") if one["id"] == name], "its record")
    kept = ai.output() + json.dumps(ai.calls("--limit", "200"))
    assert caller not in kept and "provider-secret-1" not in kept
