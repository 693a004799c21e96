"""A gRPC server with all four kinds of calls, on bytes: `python grpc_app.py PORT`.

Its health service says SERVING while there is no file that `ILL` names.
"""

import os
import sys
from concurrent import futures

import grpc


def unary(request, context):
    """Answers in reverse; metadata comes back as initial and trailing metadata."""
    sent = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-initial", sent.get("x-sent", "")),))
    context.set_trailing_metadata((("x-trailing", sent.get("x-sent", "")), ("x-binary-bin", b"\x00\xff")))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as you wish: é")
    return request[::-1]


def health(request, context):
    """The protocol of grpc.health.v1: the name of a service in field 1, and its status in field 1."""
    service = request[2:].decode()
    if service not in ("", "test.Echo"):
        context.abort(grpc.StatusCode.NOT_FOUND, f"there is no {service}")
    is_ill = os.path.exists(os.environ.get("ILL", "/nonexistent"))
    return b"\x08\x02" if is_ill else b"\x08\x01"


def server_stream(request, _context):
    for number in range(int(request)):
        yield str(number).encode()


def client_stream(requests, _context):
    return str(sum(len(request) for request in requests)).encode()


def both_streams(requests, _context):
    for request in requests:
        yield request.upper()


def main(port: int):
    server = grpc.server(futures.ThreadPoolExecutor(8))
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "BothStreams": grpc.stream_stream_rpc_method_handler(both_streams),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    checks = {"Check": grpc.unary_unary_rpc_method_handler(health)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", checks),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]))
