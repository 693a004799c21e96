"""What clients of each protocol say and hear, in bytes: for tests that look at what no SDK shows."""

import dataclasses
import json

from botocore.eventstream import EventStreamBuffer

QUESTION = "Hi"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@dataclasses.dataclass
class Heard:
    """What an answer says, whatever its protocol."""

    text: str = ""
    thought: str = ""
    #: Name and arguments.
    calls: list = dataclasses.field(default_factory=list)
    stop: str = ""
    #: Tokens in, all of them, and out.
    usage: tuple = ()
    #: The code of the error that a stream ended with.
    error: object = None
    #: The stream says itself that it is whole.
    is_ended: bool = False


class Chat:
    name = "chat"

    def path(self, model, stream):
        return "/v1/chat/completions"

    def ask(self, model, stream=False, tools=False):
        body = {"model": model, "messages": [{"role": "user", "content": QUESTION}]}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if tools:
            body["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
        return body

    def error(self, body):
        return body["error"]["code"], body["error"]["message"]

    def whole(self, body):
        choice = body["choices"][0]
        message = choice["message"]
        calls = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message.get("tool_calls") or []]
        usage = (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"])
        thought = message.get("reasoning_content") or ""
        return Heard(message["content"] or "", thought, calls, choice["finish_reason"], usage, is_ended=True)

    def stream(self, raw):
        heard, calls = Heard(), {}
        for _, data in events(raw):
            if data == "[DONE]":
                heard.is_ended = True
                continue
            chunk = json.loads(data)
            if "error" in chunk:
                heard.error = chunk["error"]["code"]
                continue
            if chunk.get("usage"):
                heard.usage = (chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"])
            for choice in chunk["choices"]:
                delta = choice["delta"]
                heard.text += delta.get("content") or ""
                heard.thought += delta.get("reasoning_content") or ""
                heard.stop = choice["finish_reason"] or heard.stop
                for call in delta.get("tool_calls") or []:
                    known = calls.setdefault(call["index"], ["", ""])
                    known[0] += call["function"].get("name") or ""
                    known[1] += call["function"].get("arguments") or ""
        heard.calls = [(name, json.loads(arguments)) for name, arguments in calls.values()]
        return heard


class Responses:
    name = "responses"

    def path(self, model, stream):
        return "/v1/responses"

    def ask(self, model, stream=False, tools=False):
        body = {"model": model, "input": QUESTION}
        if stream:
            body["stream"] = True
        if tools:
            body["tools"] = [{"type": "function", "name": "weather", "parameters": SCHEMA}]
        return body

    def error(self, body):
        return body["error"]["code"], body["error"]["message"]

    def whole(self, body):
        heard = Heard(stop=body["status"], is_ended=True)
        for item in body["output"]:
            if item["type"] == "message":
                heard.text += "".join(part["text"] for part in item["content"])
            elif item["type"] == "reasoning":
                heard.thought += "".join(part["text"] for part in item["summary"])
            else:
                heard.calls.append((item["name"], json.loads(item["arguments"])))
        heard.usage = (body["usage"]["input_tokens"], body["usage"]["output_tokens"])
        return heard

    def stream(self, raw):
        heard, text = Heard(), ""
        for name, data in events(raw):
            value = json.loads(data)
            assert value["type"] == name
            if name == "response.output_text.delta":
                text += value["delta"]
            elif name == "response.completed":
                heard = self.whole(value["response"])
                assert heard.text == text
            elif name == "error":
                heard.error = value["code"]
        heard.text = text
        return heard


class Anthropic:
    name = "anthropic"

    def path(self, model, stream):
        return "/v1/messages"

    def ask(self, model, stream=False, tools=False):
        body = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": QUESTION}]}
        if stream:
            body["stream"] = True
        if tools:
            body["tools"] = [{"name": "weather", "input_schema": SCHEMA}]
        return body

    def error(self, body):
        assert body["type"] == "error" and body["error"]["type"].endswith(("_error", "_too_large"))
        return body["error"]["code"], body["error"]["message"]

    def whole(self, body):
        heard = Heard(stop=body["stop_reason"], is_ended=True)
        for block in body["content"]:
            if block["type"] == "text":
                heard.text += block["text"]
            elif block["type"] == "thinking":
                heard.thought += block["thinking"]
            else:
                heard.calls.append((block["name"], block["input"]))
        heard.usage = anthropic_usage(body["usage"])
        return heard

    def stream(self, raw):
        heard, inputs, usage = Heard(), {}, {}
        for name, data in events(raw):
            value = json.loads(data)
            assert value["type"] == name
            if name == "message_start":
                usage = value["message"]["usage"]
            elif name == "content_block_start" and value["content_block"]["type"] == "tool_use":
                inputs[value["index"]] = [value["content_block"]["name"], ""]
            elif name == "content_block_delta":
                delta = value["delta"]
                heard.text += delta.get("text", "")
                heard.thought += delta.get("thinking", "")
                if "partial_json" in delta:
                    inputs[value["index"]][1] += delta["partial_json"]
            elif name == "message_delta":
                heard.stop = value["delta"]["stop_reason"]
                usage |= value["usage"]
            elif name == "message_stop":
                heard.is_ended = True
            elif name == "error":
                heard.error = value["error"]["code"]
        heard.calls = [(name, json.loads(text)) for name, text in inputs.values()]
        heard.usage = anthropic_usage(usage) if usage else ()
        return heard


def anthropic_usage(usage):
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return (sum(usage.get(name, 0) for name in names), usage["output_tokens"])


class Gemini:
    name = "gemini"

    def path(self, model, stream):
        return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")

    def ask(self, model, stream=False, tools=False):
        body = {"contents": [{"role": "user", "parts": [{"text": QUESTION}]}]}
        if tools:
            body["tools"] = [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": SCHEMA}]}]
        return body

    def error(self, body):
        assert isinstance(body["error"]["code"], int)
        return body["error"]["details"][0]["reason"], body["error"]["message"]

    def whole(self, body):
        heard = Heard()
        self._add(heard, body)
        heard.is_ended = bool(heard.stop)
        return heard

    def _add(self, heard, body):
        candidate = body["candidates"][0]
        for part in candidate["content"]["parts"]:
            if "functionCall" in part:
                heard.calls.append((part["functionCall"]["name"], part["functionCall"]["args"]))
            elif part.get("thought"):
                heard.thought += part["text"]
            else:
                heard.text += part["text"]
        heard.stop = candidate.get("finishReason", heard.stop)
        if usage := body.get("usageMetadata"):
            heard.usage = (usage["promptTokenCount"], usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0))

    def stream(self, raw):
        heard = Heard()
        for _, data in events(raw):
            value = json.loads(data)
            if "error" in value:
                assert isinstance(value["error"]["code"], int)
                heard.error = value["error"]["details"][0]["reason"]
            else:
                self._add(heard, value)
        heard.is_ended = bool(heard.stop)
        return heard


class Bedrock:
    name = "bedrock"

    def path(self, model, stream):
        return f"/model/{model.replace('/', '%2F')}/" + ("converse-stream" if stream else "converse")

    def ask(self, model, stream=False, tools=False):
        body = {"messages": [{"role": "user", "content": [{"text": QUESTION}]}]}
        if tools:
            body["toolConfig"] = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": SCHEMA}}}]}
        return body

    def error(self, body):
        return body["code"], body["message"]

    def whole(self, body):
        heard = Heard(stop=body["stopReason"], is_ended=True)
        for block in body["output"]["message"]["content"]:
            heard.text += block.get("text", "")
            if "reasoningContent" in block:
                heard.thought += block["reasoningContent"]["reasoningText"]["text"]
            if "toolUse" in block:
                heard.calls.append((block["toolUse"]["name"], block["toolUse"]["input"]))
        heard.usage = bedrock_usage(body["usage"])
        return heard

    def stream(self, raw):
        heard, calls = Heard(), {}
        buffer = EventStreamBuffer()
        buffer.add_data(raw)
        for message in buffer:
            headers, value = message.headers, json.loads(message.payload)
            if headers[":message-type"] == "exception":
                assert headers[":exception-type"].endswith("Exception")
                heard.error = value["code"]
                continue
            name = headers[":event-type"]
            if name == "contentBlockStart":
                calls[value["contentBlockIndex"]] = [value["start"]["toolUse"]["name"], ""]
            elif name == "contentBlockDelta":
                delta = value["delta"]
                heard.text += delta.get("text", "")
                heard.thought += delta.get("reasoningContent", {}).get("text", "")
                if "toolUse" in delta:
                    calls[value["contentBlockIndex"]][1] += delta["toolUse"]["input"]
            elif name == "messageStop":
                heard.stop = value["stopReason"]
            elif name == "metadata":
                heard.usage = bedrock_usage(value["usage"])
                heard.is_ended = True
        heard.calls = [(name, json.loads(text)) for name, text in calls.values()]
        return heard


def bedrock_usage(usage):
    names = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    return (sum(usage.get(name, 0) for name in names), usage["outputTokens"])


def events(raw: bytes):
    """Name and data of each server-sent event."""
    for event in raw.decode().split("\n\n"):
        name, data = "", []
        for line in event.strip("\n").split("\n"):
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
        if data:
            yield name, "\n".join(data)


CLIENTS = [Chat(), Responses(), Anthropic(), Gemini(), Bedrock()]
#: How each says that a model has said all, or calls a function.
ENDS = {
    "chat": ("stop", "tool_calls"),
    "responses": ("completed", "completed"),
    "anthropic": ("end_turn", "tool_use"),
    "gemini": ("STOP", "STOP"),
    "bedrock": ("end_turn", "tool_use"),
}
