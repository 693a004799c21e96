"""nginx speaks gRPC to a Gunicorn."""

CAUSE = "h2-or-grpc-to-http1"


def run(lab):
    lab.nginx(scheme="grpc")
    lab.gunicorn()
    lab.get("/", 502, times=3)
