"""A gRPC server with all four kinds of calls, on bytes: `python grpc_app.py PORT`."""

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
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]))
