"""AI calls: real SDKs through Clearway, every dialect to every provider, and providers that fail in all the ways they do."""

import json
import urllib.error
import urllib.request

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors

import gateway as clearway
from gateway import Gateway
from processes import wait_until
from providers import TEXT, WORD, Provider

KEY = "caller-key-0123456789"
CONFIG = """
providers:
  - {{ name: chat, url: "{url}/v1", keys: ["${{env:PROVIDER_KEY}}"], models: [plain] }}
  - {{ name: claude, kind: anthropic, url: "{url}/v1", keys: ["${{env:PROVIDER_KEY}}"] }}
  - {{ name: two-keys, url: "{url}/v1", keys: ["provider-bad-key", "${{env:PROVIDER_KEY}}"] }}
models:
  - {{ name: alias, lanes: [chat/real-name] }}
  - {{ name: falls-back, lanes: [chat/overloaded, chat/html-502, chat/plain] }}
  - {{ name: falls-back-streaming, lanes: [chat/early-error, chat/cut-json, chat/plain] }}
services: [{{ name: ai, ai: {{}} }}]
consumers: [{{ name: alice, api-keys: ["${{env:CALLER_KEY}}"] }}]
"""


@pytest.fixture(scope="module")
def provider():
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def ai(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ai")
    file = folder / "clearway.yaml"
    file.write_text(CONFIG.format(url=provider.url))
    env = {"PROVIDER_KEY": "provider-secret-1", "CALLER_KEY": KEY}
    gateway = Gateway(file, data=folder / "data", log=folder / "log", env=env)
    yield gateway
    gateway.stop()


def post(gateway, path: str, body, **headers):
    """Status, headers and body of an answer."""
    request = urllib.request.Request(gateway.url + path, method="POST")
    request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
    for name, value in ({"authorization": f"Bearer {KEY}", "content-type": "application/json"} | headers).items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, refused.read()


def ask(model: str, **more) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}]} | more


def record(gateway, headers) -> dict:
    """The record of an answered exchange, as soon as it is there."""
    name = headers["x-request-id"]
    found = wait_until(lambda: [one for one in gateway.calls("--limit", "200") if one["id"] == name], f"record {name}")
    return found[0]


@pytest.mark.parametrize("model", ["chat/plain", "claude/plain"])
def test_the_openai_sdk(ai, model):
    client = openai.OpenAI(base_url=f"{ai.url}/v1", api_key=KEY, max_retries=0)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    answer = client.chat.completions.create(model=model, messages=messages)
    assert answer.choices[0].message.content == TEXT
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (10, 4)
    assert answer.usage.prompt_tokens_details.cached_tokens == 3
    chunks = list(client.chat.completions.create(model=model, messages=messages, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert chunks[-1].usage.completion_tokens == 4
    response = client.responses.create(model=model, input="Hi", instructions="Be brief.")
    assert response.output_text == TEXT and response.usage.output_tokens == 4
    events = list(client.responses.create(model=model, input="Hi", stream=True))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    assert events[-1].response.output_text == TEXT


@pytest.mark.parametrize("model", ["chat/plain", "claude/plain"])
def test_the_anthropic_sdk(ai, model):
    client = anthropic.Anthropic(base_url=ai.url, api_key=KEY, max_retries=0)
    question = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}], "system": "Be brief."}
    answer = client.messages.create(**question)
    assert (answer.content[0].text, answer.stop_reason) == (TEXT, "end_turn")
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (7, 3, 4)
    with client.messages.stream(**question) as stream:
        assert "".join(stream.text_stream) == TEXT
        assert stream.get_final_message().usage.output_tokens == 4


@pytest.mark.parametrize("model", ["chat/plain", "claude/plain"])
def test_the_google_sdk(ai, model):
    client = genai.Client(api_key=KEY, http_options={"base_url": ai.url})
    answer = client.models.generate_content(model=model, contents="Hi")
    assert answer.text == TEXT and answer.usage_metadata.candidates_token_count == 4
    chunks = list(client.models.generate_content_stream(model=model, contents="Hi"))
    assert "".join(chunk.text or "" for chunk in chunks) == TEXT


def test_tools_through_another_dialect(ai, provider):
    client = anthropic.Anthropic(base_url=ai.url, api_key=KEY, max_retries=0)
    tool = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    question = {"model": "chat/tools", "max_tokens": 50, "tools": [tool], "tool_choice": {"type": "any"}}
    messages = [{"role": "user", "content": "Weather?"}]
    with client.messages.stream(messages=messages, **question) as stream:
        answer = stream.get_final_message()
    [call] = answer.content
    assert (call.type, call.name, call.input, answer.stop_reason) == ("tool_use", "weather", {"city": "Paris"}, "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    client.messages.create(messages=messages, **question)
    sent = provider.asked("tools")[-1]["body"]
    assert sent["tool_choice"] == "required"
    assert sent["messages"][1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Paris"}'}
    assert sent["messages"][2] == {"role": "tool", "tool_call_id": "call_0", "content": "sunny"}


def test_the_same_dialect_passes_byte_by_byte(ai, provider):
    raw = b' {"messages": [ {"role":"user","content":"caf\\u00e9"} ],"model":"chat/bytes", "temperature":0.70,"unknown":{"a":[1]}}\n'
    status, headers, body = post(ai, "/v1/chat/completions", raw)
    assert provider.asked("bytes")[-1]["raw"].encode("latin-1") == raw.replace(b"chat/bytes", b"bytes")
    assert (status, body) == (200, provider.post("/v1/chat/completions", ask("bytes")))
    assert headers["x-clearway-provider"] == "chat" and headers["x-clearway-model"] == "bytes"
    assert headers["set-cookie"] is None
    _, _, streamed = post(ai, "/v1/chat/completions", ask("chat/bytes", stream=True))
    assert streamed == provider.post("/v1/chat/completions", ask("bytes", stream=True))
    # The one exception: the end of the last event, which clients would lose.
    _, _, streamed = post(ai, "/v1/chat/completions", ask("chat/no-empty-line", stream=True))
    assert streamed == provider.post("/v1/chat/completions", ask("no-empty-line", stream=True)) + b"\n\n"


def test_no_credential_goes_where_it_does_not_belong(ai, provider):
    _, headers, _ = post(ai, "/v1/chat/completions", ask("chat/secrets"), cookie="caller=secret", x_custom="caller-secret")
    sent = provider.asked("secrets")[-1]["headers"]
    assert sent["authorization"] == "Bearer provider-secret-1"
    assert not any("caller" in value.lower() for value in sent.values()), sent
    post(ai, "/v1/messages", ask("claude/secrets", max_tokens=5))
    sent = provider.asked("secrets")[-1]["headers"]
    assert sent["x-api-key"] == "provider-secret-1" and "authorization" not in sent
    status, _, body = post(ai, "/v1/chat/completions", ask("chat/bad-key"))
    assert status == 502 and b"provider-secret-1" not in body
    record(ai, headers)
    text = ai.output() + json.dumps(ai.calls("--limit", "200"))
    assert "provider-secret-1" not in text and KEY not in text


@pytest.fixture
def alone(provider, tmp_path, start_gateway):
    """A gateway of this test's own, whose lanes have not failed yet."""
    config = f"providers: [{{ name: chat, url: '{provider.url}/v1', keys: ['provider-secret-1'] }}]\nservices: [{{ name: ai, ai: {{ key: false }} }}]\n"
    return start_gateway(config=config)


@pytest.mark.parametrize("model", ["cut-stream", "late-error"])
def test_sdks_raise_what_broke_in_a_stream(alone, model):
    """An error that an SDK passes over would be a wrong answer."""
    messages = [{"role": "user", "content": "Hi"}]
    with pytest.raises(openai.APIError):
        client = openai.OpenAI(base_url=f"{alone.url}/v1", api_key="x", max_retries=0)
        list(client.chat.completions.create(model=f"chat/{model}", messages=messages, stream=True))
    with pytest.raises(openai.APIError):
        list(client.responses.create(model=f"chat/{model}", input="Hi", stream=True))
    with pytest.raises(anthropic.APIError):
        client = anthropic.Anthropic(base_url=alone.url, api_key="x", max_retries=0)
        with client.messages.stream(model=f"chat/{model}", max_tokens=5, messages=messages) as stream:
            stream.get_final_message()
    with pytest.raises(genai_errors.APIError):
        client = genai.Client(api_key="x", http_options={"base_url": alone.url})
        list(client.models.generate_content_stream(model=f"chat/{model}", contents="Hi"))


def test_a_missing_done_after_a_reason_to_stop_is_no_fault(alone, provider):
    status, headers, body = post(alone, "/v1/chat/completions", ask("chat/no-done", stream=True))
    assert status == 200 and body == provider.post("/v1/chat/completions", ask("no-done", stream=True))
    assert record(alone, headers)["ending"]["fault"] is None


def test_an_error_before_the_first_word_has_a_status(alone):
    status, headers, _ = post(alone, "/v1/chat/completions", ask("chat/early-error", stream=True))
    assert (status, headers["x-clearway-fault"]) == (503, "provider-overloaded")


@pytest.mark.parametrize("streaming", [False, True])
def test_lanes_fall_back_until_one_answers(ai, streaming):
    name = "falls-back-streaming" if streaming else "falls-back"
    status, headers, body = post(ai, "/v1/chat/completions", ask(name, stream=streaming))
    assert status == 200 and headers["x-clearway-model"] == "plain"
    assert WORD.encode() in body
    kept = record(ai, headers)
    assert [attempt.get("why") for attempt in kept["attempts"]] == [None, "other-lane", "other-lane"]
    assert kept["ai"]["asked"] == name and kept["ai"]["model"] == "plain"


def test_a_single_lane_is_asked_again_and_never_given_up(alone, provider):
    status, headers, _ = post(alone, "/v1/chat/completions", ask("chat/flaky"))
    assert status == 200
    assert [attempt.get("why") for attempt in record(alone, headers)["attempts"]] == [None, "same-lane"]
    for _ in range(5):
        post(alone, "/v1/chat/completions", ask("chat/close"))
    # Other models of the key are not to blame, and the one that failed is still tried.
    before = len(provider.asked("close"))
    assert post(alone, "/v1/chat/completions", ask("chat/close"))[0] == 502
    assert len(provider.asked("close")) > before
    assert post(alone, "/v1/chat/completions", ask("chat/plain"))[0] == 200


def test_who_may_not_and_what_is_not_there(ai):
    for path, field in [("/v1/chat/completions", "authorization"), ("/v1/messages", "x-api-key")]:
        status, _, body = post(ai, path, ask("chat/plain"), **{"authorization": "Bearer nobody", field: "Bearer nobody"})
        assert status == 401 and "error" in json.loads(body)
    status, _, body = post(ai, "/v1/chat/completions", ask("chat-plain"))
    assert status == 404 and "chat/plain" in json.loads(body)["error"]["message"]
    status, _, body = post(ai, "/v1/messages", b'{"model": "chat/plain", "messages": [}')
    assert status == 400 and "line 1 column 38" in json.loads(body)["error"]["message"]
    status, _, body = post(ai, "/v1/messages", ask("chat/plain", messages=[{"role": "nobody", "content": "x"}]))
    assert status == 400 and "messages[0].role" in json.loads(body)["error"]["message"]
    status, _, _ = post(ai, "/v1/nothing", b"{}")
    assert status == 404


def test_models_are_listed_in_the_words_of_who_asks(ai):
    assert "chat/plain" in [model.id for model in openai.OpenAI(base_url=f"{ai.url}/v1", api_key=KEY).models.list()]
    assert "alias" in [model.id for model in anthropic.Anthropic(base_url=ai.url, api_key=KEY).models.list(limit=1000)]


def test_what_a_translation_loses_is_named(ai):
    _, headers, _ = post(ai, "/v1/chat/completions", ask("claude/plain", seed=7, logit_bias={"1": 1}))
    assert set(headers["x-clearway-losses"].split(",")) == {"seed", "logit_bias"}


def test_what_is_no_conversation_is_handed_on(ai, provider):
    client = openai.OpenAI(base_url=f"{ai.url}/v1", api_key=KEY, max_retries=0)
    answer = client.embeddings.create(model="chat/vectors", input="x")
    assert answer.data[0].embedding == [0.5, 0.25] and answer.usage.prompt_tokens == 2
    sent = provider.requests[-1]
    assert sent["path"] == "/v1/embeddings" and sent["body"]["model"] == "vectors"
    assert client.audio.speech.create(model="chat/voice", input="x", voice="alloy").read() == b"\x00\xffsound"
    assert client.audio.transcriptions.create(model="chat/ears", file=("a.wav", b"\xff\x00{")).text == "heard"
    sent = provider.requests[-1]
    assert sent["path"] == "/v1/audio/transcriptions" and "\xff\x00{" in sent["raw"]
    assert "\r\n\r\nears\r\n" in sent["raw"] and "chat/ears" not in sent["raw"]
    azure = openai.AzureOpenAI(azure_endpoint=ai.url, api_key=KEY, api_version="2024-10-21", azure_deployment="plain", max_retries=0)
    assert azure.chat.completions.create(model="plain", messages=[{"role": "user", "content": "Hi"}]).choices[0].message.content == TEXT


def test_what_leaves_something_behind_is_not_done_twice(alone, provider):
    """A batch whose answer is lost may have been made."""
    status, _, _ = post(alone, "/v1/batches", {"input_file_id": "f", "model": "reset"})
    assert status == 502
    assert len([one for one in provider.requests if one["path"] == "/v1/batches"]) == 1


def test_names_of_a_client_break_no_header(ai):
    status, headers, body = post(ai, "/v1/chat/completions", ask("chat/a\r\nx-injected: 1"))
    assert status == 400 and "model" in json.loads(body)["error"]["message"] and headers["x-injected"] is None
    _, headers, _ = post(ai, "/v1/chat/completions", ask("claude/plain", **{"a\r\nx-injected: 1": 1, "seed": 1}))
    assert set(headers["x-clearway-losses"].split(",")) == {"other", "seed"} and headers["x-injected"] is None
    status, headers, _ = post(ai, "/v1/moderations", b"[]")
    assert status == 400
    request = urllib.request.Request(ai.url + "/v1/chat/completions", headers={"authorization": f"Bearer {KEY}"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert (refused.value.code, refused.value.headers["allow"]) == (405, "POST")


# Bytes that keep a client's connection come after 15 seconds.
@pytest.mark.slow
@pytest.mark.parametrize("ends", ["answer", "close"])
def test_a_silent_model_is_bridged(alone, provider, ends):
    provider.hold()
    name = f"silent-{ends}"
    request = urllib.request.Request(f"{alone.url}/v1/chat/completions", method="POST", data=json.dumps(ask(f"chat/{name}", stream=True)).encode())
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=40) as answer:
        assert answer.status == 200 and answer.read(1) == b"\n"
        provider.go_on()
        rest = answer.read()
        headers = answer.headers
    kept = record(alone, headers)
    if ends == "answer":
        assert rest.strip() == provider.post("/v1/chat/completions", ask(name, stream=True)).strip()
        assert (kept["status"], kept["ending"]["fault"]) == (200, None)
    else:
        assert b'"code":"early-close"' in rest and b"[DONE]" not in rest
        assert (kept["status"], kept["ending"]["fault"]) == (200, "early-close")
        assert [attempt.get("why") for attempt in kept["attempts"]] == [None, "same-lane"]


def test_http2_clients_get_streams_too(ai):
    body = json.dumps(ask("claude/plain", stream=True))
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    with httpx.Client(http1=False, http2=True) as client:
        answer = client.post(f"{ai.url}/v1/chat/completions", content=body, headers=headers)
    assert (answer.http_version, answer.status_code) == ("HTTP/2", 200)
    assert answer.text.endswith("data: [DONE]\n\n") and '" provider"' in answer.text


def test_first_steps_without_a_key(tmp_path):
    """The simulator, and a key that is made once."""
    gateway = Gateway("--provider", "demo", data=tmp_path / "data", log=tmp_path / "log")
    try:
        line = next(line for line in gateway.output().splitlines() if "key for callers" in line)
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=line.split()[-1], max_retries=0)
        messages = [{"role": "user", "content": "ping"}]
        answer = client.chat.completions.create(model="demo", messages=messages)
        assert answer.choices[0].message.content.endswith("not a model. You said: ping")
        pieces = client.chat.completions.create(model="demo", messages=messages, stream=True)
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces).endswith("ping")
    finally:
        gateway.stop()
    again = Gateway("--provider", "demo", data=tmp_path / "data", log=tmp_path / "log2")
    try:
        assert "key for callers" not in again.output()
        client = openai.OpenAI(base_url=f"{again.url}/v1", api_key=client.api_key, max_retries=0)
        assert client.models.list().data[0].id == "demo/demo"
    finally:
        again.stop()


def test_a_provider_without_a_key_is_refused_with_its_variable(tmp_path):
    file = tmp_path / "clearway.yaml"
    file.write_text("providers: [{ name: mistral }]\nservices: [{ name: ai, ai: {} }]\n")
    result = clearway.command("check", file, env={"MISTRAL_API_KEY": ""})
    assert result.returncode == 1 and "set MISTRAL_API_KEY" in result.stdout + result.stderr
