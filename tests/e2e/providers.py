"""A provider of AI models that does what the name of the model says: answers, streams, and the faults of real ones.

Speaks OpenAI's chat completions and Anthropic's messages. Each request is kept, so that tests can count and read them.
"""

import http.server
import json
import socket
import struct
import threading
import time

WORDS = ["Hello", " from", " the", " provider"]


class Provider(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        #: What silent models wait for.
        self.go_on = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def asked(self, model: str) -> list[dict]:
        return [one for one in self.requests if one["body"].get("model") == model]

    def stop(self):
        self.shutdown()
        self.thread.join()
        self.server_close()

    def handle_error(self, request, client_address):
        """Faults close connections."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.loads(raw) if self.headers["content-type"] == "application/json" else {}
        self.server.requests.append({"path": self.path, "headers": dict(self.headers), "body": body, "raw": raw})
        fault = getattr(self, "fault_" + body.get("model", "").replace("-", "_"), None)
        if fault:
            return fault(body)
        if self.path.endswith("/embeddings"):
            vector = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
            return self.json(200, {"object": "list", "data": [vector], "model": "v", "usage": {"prompt_tokens": 2, "total_tokens": 2}})
        if self.path.endswith("/audio/speech"):
            return self.json(200, b"\x00\xffsound", content_type="audio/mpeg")
        if self.path.endswith("/audio/transcriptions"):
            return self.json(200, {"text": "heard"})
        anthropic = self.path.endswith("/messages")
        if body.get("stream"):
            return self.stream(anthropic_events() if anthropic else chat_events(body))
        self.json(200, anthropic_answer(body) if anthropic else chat_answer(body))

    def json(self, status: int, value, **headers):
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", headers.pop("content_type", "application/json"))
        for name, header in headers.items():
            self.send_header(name.replace("_", "-"), header)
        self.send_header("set-cookie", "provider=secret")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    #: `pause` lets the words get to the client before what comes then: real providers take as long for a few tokens.
    def stream(self, events: list[bytes], end: bytes = b"", pause: float = 0):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(event)
            self.wfile.flush()
        time.sleep(pause)
        self.wfile.write(end)
        self.close_connection = True

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def fault_close(self, _):
        self.close_connection = True

    def fault_reset(self, _):
        self.reset()

    def fault_html_502(self, _):
        self.json(502, b"<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")

    def fault_limited(self, _):
        self.json(429, error("Slow down", "rate_limit_exceeded"), retry_after="7")

    def fault_too_long(self, _):
        self.json(400, error("This model's maximum context length is 8 tokens", "context_length_exceeded", "messages"))

    def fault_bad_key(self, _):
        self.json(401, error("Incorrect API key provided: provider-secret-1", "invalid_api_key"))

    def fault_no_money(self, _):
        self.json(429, error("You exceeded your current quota", "insufficient_quota"))

    def fault_overloaded(self, _):
        self.json(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})

    def fault_error_in_200(self, _):
        self.json(200, error("upstream failed", "server_error"))

    def fault_cut_json(self, body):
        self.json(200, json.dumps(chat_answer(body)).encode()[:40])

    def fault_empty(self, _):
        self.json(200, b"")

    def fault_page(self, _):
        self.json(200, b"<html>login</html>", content_type="text/html")

    def fault_redirect(self, _):
        self.json(302, b"", location="http://127.0.0.1:9/")

    def fault_short_body(self, body):
        text = json.dumps(chat_answer(body)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text) + 10))
        self.end_headers()
        self.wfile.write(text)
        self.close_connection = True

    def fault_cut_stream(self, body):
        self.stream(chat_events(body)[:3], pause=0.2)

    def fault_reset_stream(self, body):
        self.stream(chat_events(body)[:3], pause=0.2)
        self.reset()

    def fault_no_done(self, body):
        self.stream(chat_events(body)[:-1])

    def fault_no_empty_line(self, body):
        events = chat_events(body)
        self.stream([*events[:-1], events[-1].rstrip(b"\n")])

    def fault_early_error(self, body):
        self.stream([chat_events(body)[0], data(error("overloaded", "overloaded_error"))])

    def fault_late_error(self, body):
        self.stream(chat_events(body)[:3], data(error("died", "server_error")), pause=0.2)

    def fault_silent_answer(self, body):
        self.server.go_on.wait(60)
        self.stream(chat_events(body))

    def fault_silent_close(self, _):
        self.server.go_on.wait(60)
        self.close_connection = True

    def fault_flaky(self, body):
        """Fails the first time."""
        if len(self.server.asked("flaky")) == 1:
            return self.json(500, error("oops", "server_error"))
        self.json(200, chat_answer(body))


def error(message: str, code: str, param=None) -> dict:
    return {"error": {"message": message, "type": "x", "param": param, "code": code}}


def data(value) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chat_answer(body: dict) -> dict:
    message = {"role": "assistant", "content": "".join(WORDS)}
    reason = "stop"
    if body.get("tools"):
        call = {"name": body["tools"][0]["function"]["name"], "arguments": '{"city": "Paris"}'}
        message = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": call}]}
        reason = "tool_calls"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 3}},
    }


def chat_events(body: dict) -> list[bytes]:
    def chunk(delta, reason=None, **more):
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        return data({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": body["model"], "choices": choices} | more)

    events = [chunk({"role": "assistant", "content": ""})]
    if body.get("tools"):
        name = body["tools"][0]["function"]["name"]
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
        events.append(chunk({"tool_calls": [call]}))
        for piece in ['{"city"', ': "Paris"}']:
            events.append(chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}))
        events.append(chunk({}, "tool_calls"))
    else:
        events += [chunk({"content": word}) for word in WORDS]
        events.append(chunk({}, "stop"))
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append(chunk({}, choices=[], usage={"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}))
    return [*events, b"data: [DONE]\n\n"]


def anthropic_answer(body: dict) -> dict:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": "".join(WORDS)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 0, "output_tokens": 4},
    }


def anthropic_events() -> list[bytes]:
    def event(kind, **fields):
        return f"event: {kind}\n".encode() + data({"type": kind} | fields)

    message = anthropic_answer({"model": "m"}) | {"content": [], "stop_reason": None}
    events = [event("message_start", message=message), event("ping")]
    events.append(event("content_block_start", index=0, content_block={"type": "text", "text": ""}))
    for word in WORDS:
        events.append(event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}))
    events.append(event("content_block_stop", index=0))
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    return [*events, event("message_delta", delta=delta, usage={"output_tokens": 4}), event("message_stop")]
