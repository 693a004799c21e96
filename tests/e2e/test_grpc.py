"""gRPC from end to end: HTTP/2 with prior knowledge on both sides, and trailers."""

import queue
import sys

import grpc
import pytest

from processes import Process, free_port
from servers import APPS


@pytest.fixture(scope="module")
def grpc_port(folder):
    port = free_port()
    with Process([sys.executable, APPS / "grpc_app.py", port], log=folder / "grpc.log") as process:
        process.wait_for_port(port)
        yield port


@pytest.fixture
def gateway(start_gateway, grpc_port):
    return start_gateway("--to", f"h2c://127.0.0.1:{grpc_port}")


@pytest.fixture
def channel(gateway):
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        yield channel


def test_unary_with_metadata_and_trailers(channel):
    answer, call = channel.unary_unary("/test.Echo/Unary").with_call(
        b"hello", metadata=(("x-sent", "value"),), timeout=15
    )
    assert answer == b"olleh"
    assert dict(call.initial_metadata())["x-initial"] == "value"
    trailing = dict(call.trailing_metadata())
    assert (trailing["x-trailing"], trailing["x-binary-bin"]) == ("value", b"\x00\xff")


def test_an_error_status_is_the_applications(channel, gateway):
    with pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/test.Echo/Unary")(b"fail", timeout=15)
    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "as you wish: é")
    # gRPC's own failure is a success of HTTP.
    assert gateway.call("--path", "/test.Echo/Unary")["ending"]["fault"] is None


def test_an_unknown_method_is_unimplemented(channel):
    with pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/test.Echo/Nothing")(b"", timeout=15)
    assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_streams(channel):
    assert list(channel.unary_stream("/test.Echo/ServerStream")(b"1000", timeout=15)) == [
        str(number).encode() for number in range(1000)
    ]
    parts = iter([b"x" * 10_000] * 100)
    assert channel.stream_unary("/test.Echo/ClientStream")(parts, timeout=15) == b"1000000"


def test_both_directions_take_turns(channel):
    """Each answer is awaited before the next request is sent: nothing may be held back."""
    sending = queue.Queue()
    answers = channel.stream_stream("/test.Echo/BothStreams")(iter(sending.get, None), timeout=15)
    for word in (b"one", b"two", b"three"):
        sending.put(word)
        assert next(answers) == word.upper()
    sending.put(None)
    assert list(answers) == []


def test_a_large_message(channel):
    body = bytes(range(256)) * 12_000
    assert channel.unary_unary("/test.Echo/Unary")(body, timeout=15) == body[::-1]


def test_no_server_is_unavailable(start_gateway):
    """Clearway's own 502 has to be one that gRPC understands."""
    gateway = start_gateway("--to", f"h2c://127.0.0.1:{free_port()}")
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as channel, pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/test.Echo/Unary")(b"", timeout=15)
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
