"""Real clients, unmodified, through Clearway to providers of other protocols."""

import boto3
import botocore.config
import botocore.exceptions
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from mistralai.client import Mistral

from gateway import Gateway
from providers import TEXT, Provider

KEY = "alice-key-0123456789"
CONFIG = """
providers:
  - {{ name: chat, url: "{url}/v1", keys: [provider-secret-1] }}
  - {{ name: claude, kind: anthropic, url: "{url}/v1", keys: [provider-secret-1] }}
  - {{ name: google, speaks: [gemini], url: "{url}/v1beta", keys: [provider-secret-1] }}
services: [{{ name: ai, ai: {{}} }}]
consumers: [{{ name: alice, api-keys: ["${{env:ALICE}}"] }}]
"""
MODELS = ["chat/plain", "claude/plain", "google/plain"]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture(scope="module")
def provider():
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def ai(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clients")
    file = folder / "clearway.yaml"
    file.write_text(CONFIG.format(url=provider.url))
    gateway = Gateway(file, data=folder / "data", log=folder / "log", env={"ALICE": KEY})
    yield gateway
    gateway.stop()


def bedrock(gateway, name="alice", secret=KEY):
    """The access key's id is the consumer's name, the secret its key."""
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=gateway.url,
        region_name="us-east-1",
        aws_access_key_id=name,
        aws_secret_access_key=secret,
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )


MESSAGES = [{"role": "user", "content": [{"text": "Hi"}]}]


@pytest.mark.parametrize("model", MODELS)
def test_boto3(ai, model):
    client = bedrock(ai)
    answer = client.converse(modelId=model, messages=MESSAGES)
    assert answer["output"]["message"]["content"][0]["text"] == TEXT and answer["stopReason"] == "end_turn"
    assert answer["usage"]["outputTokens"] == 4
    events = list(client.converse_stream(modelId=model, messages=MESSAGES)["stream"])
    words = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert "".join(words) == TEXT and events[-1]["metadata"]["usage"]["outputTokens"] == 4
    tools = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": SCHEMA}}}]}
    answer = client.converse(modelId=model, messages=MESSAGES, toolConfig=tools)
    assert answer["output"]["message"]["content"][-1]["toolUse"]["input"] == {"city": "Paris"}


def test_boto3_types_errors(ai):
    client = bedrock(ai)
    for model, kind in [("chat/limited", "ThrottlingException"), ("chat/too-long", "ValidationException"), ("chat/bad-key", "InternalServerException")]:
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            client.converse(modelId=model, messages=MESSAGES)
        assert refused.value.response["Error"]["Code"] == kind
    with pytest.raises(botocore.exceptions.EventStreamError):
        list(client.converse_stream(modelId="claude/late-error", messages=MESSAGES)["stream"])


@pytest.mark.parametrize(("name", "secret"), [("alice", "wrong-key-0123456789"), ("nobody", KEY)])
def test_a_wrong_signature_is_nobody(ai, provider, name, secret):
    before = len(provider.requests)
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        bedrock(ai, name, secret).converse(modelId="claude/plain", messages=MESSAGES)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert len(provider.requests) == before


@pytest.mark.parametrize("model", MODELS)
def test_mistral(ai, model):
    client = Mistral(api_key=KEY, server_url=ai.url)
    messages = [{"role": "user", "content": "Hi"}]
    assert client.chat.complete(model=model, messages=messages).choices[0].message.content == TEXT
    with client.chat.stream(model=model, messages=messages) as stream:
        chunks = [event.data for event in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    tools = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
    answer = client.chat.complete(model=model, messages=messages, tools=tools)
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return "sunny"


@pytest.mark.parametrize("model", MODELS)
def test_langchain(ai, model):
    clients = [
        ChatOpenAI(model=model, base_url=f"{ai.url}/v1", api_key=KEY, max_retries=0),
        ChatOpenAI(model=model, base_url=f"{ai.url}/v1", api_key=KEY, max_retries=0, use_responses_api=True),
        ChatAnthropic(model=model, base_url=ai.url, api_key=KEY, max_retries=0),
    ]
    for client in clients:
        answer = client.invoke("Hi")
        assert answer.text == TEXT and answer.usage_metadata["output_tokens"] == 4
        assert "".join(chunk.text for chunk in client.stream("Hi")) == TEXT
        asked = [HumanMessage("Weather?")]
        calling = client.bind_tools([weather])
        answer = calling.invoke(asked)
        [call] = answer.tool_calls
        assert (call["name"], call["args"]) == ("weather", {"city": "Paris"})
        result = weather.invoke(call)
        assert calling.invoke([*asked, answer, result]).text == TEXT


def test_langchain_embeddings(ai):
    client = OpenAIEmbeddings(model="chat/vectors", base_url=f"{ai.url}/v1", api_key=KEY, check_embedding_ctx_length=False)
    assert client.embed_query("x") == [0.5, 0.25]
