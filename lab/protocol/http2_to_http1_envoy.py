"""Envoy speaks HTTP/2 to a Gunicorn."""

CAUSE = "h2-or-grpc-to-http1"

OPTIONS = """typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }"""


def run(lab):
    lab.envoy(cluster=OPTIONS)
    lab.gunicorn()
    lab.get("/", (502, 503), times=3)
