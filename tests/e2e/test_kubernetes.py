"""`clearway doctor --kubernetes` against an API that answers in the shapes of Kubernetes 1.31 (objects of the API reference)."""

import base64
import copy
import http.server
import json
import ssl
import threading
from datetime import UTC, datetime, timedelta

import subprocess

import pytest

from gateway import command

#: An Ingress, the Service behind it and one pod that is well.
NOW = datetime.now(UTC)


def ago(seconds: int) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(name="shop-6d9-1", ip="10.42.0.7", **changes):
    made = {
        "metadata": {
            "name": name,
            "namespace": "web",
            "labels": {"app": "shop"},
            "creationTimestamp": ago(4000),
            "ownerReferences": [{"kind": "ReplicaSet", "name": "shop-6d9"}],
        },
        "spec": {
            "nodeName": "node-1",
            "terminationGracePeriodSeconds": 30,
            "containers": [
                {
                    "name": "app",
                    "image": "shop:1",
                    "command": ["gunicorn", "--bind", "0.0.0.0:8000", "app:app"],
                    "ports": [{"containerPort": 8000}],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8000}},
                }
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": ip,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ago(3990)}],
            "containerStatuses": [
                {"name": "app", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": ago(3995)}}}
            ],
        },
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = made
        for part in parents:
            at = at[int(part) if part.isdigit() else part]
        at[last] = value
    return made


def endpoint_slice(*addresses, ready=True):
    return {
        "metadata": {"name": "shop-abc", "namespace": "web", "labels": {"kubernetes.io/service-name": "shop"}},
        "ports": [{"name": "", "port": 8000}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses],
    }


def cluster(pods=None, slices=None, **lists):
    """Answers by path."""
    service = {
        "metadata": {"name": "shop", "namespace": "web"},
        "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    ingress = {
        "metadata": {"name": "shop", "namespace": "web"},
        "spec": {
            "ingressClassName": "nginx",
            "rules": [
                {
                    "host": "shop.example",
                    "http": {"paths": [{"path": "/", "backend": {"service": {"name": "shop", "port": {"number": 80}}}}]},
                }
            ],
        },
    }
    deployment = {
        "metadata": {"name": "shop", "namespace": "web"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "shop"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        },
        "status": {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
    }
    core, web = "/api/v1/namespaces/web", "namespaces/web"
    return {
        f"{core}/pods": pods if pods is not None else [pod()],
        f"{core}/services": lists.get("services", [service]),
        f"/apis/discovery.k8s.io/v1/{web}/endpointslices": slices if slices is not None else [endpoint_slice("10.42.0.7")],
        f"{core}/events": lists.get("events", []),
        f"/apis/apps/v1/{web}/deployments": [deployment],
        f"/apis/apps/v1/{web}/replicasets": [],
        f"/apis/networking.k8s.io/v1/{web}/ingresses": [ingress],
        f"/apis/networking.k8s.io/v1/{web}/networkpolicies": lists.get("policies", []),
        "/api/v1/pods": lists.get("controllers", []),
        **lists.get("logs", {}),
    }


class Api:
    """Answers lists in pages of one object, with chunks, so that both are read."""

    def __init__(self, answers, token=None, context=None):
        self.asked = []
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path, _, query = self.path.partition("?")
                api.asked.append(f"{self.command} {path}")
                if token and self.headers.get("Authorization") != f"Bearer {token}":
                    return self.answer(401, json.dumps({"kind": "Status", "message": "Unauthorized"}))
                found = answers.get(path)
                if isinstance(found, int):
                    return self.answer(found, json.dumps({"kind": "Status", "message": "events is forbidden"}))
                if path.endswith("/log"):
                    key = path + (" previous" if "previous=true" in query else "")
                    return self.answer(200, answers.get(key, ""))
                at = int(query.split("continue=")[1].split("&")[0]) if "continue=" in query else 0
                more = str(at + 1) if at + 1 < len(found or []) else ""
                self.answer(200, json.dumps({"metadata": {"continue": more}, "items": (found or [])[at : at + 1]}))

            def answer(self, status, text):
                self.send_response(status)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                data = text.encode()
                for part in (data[: len(data) // 2], data[len(data) // 2 :]):
                    if part:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def api():
    started = []

    def start(answers, **options):
        started.append(Api(answers, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def judge(server: Api, *target, expect: int):
    words = ("doctor", "--kubernetes", "--kubernetes-server", f"http://127.0.0.1:{server.port}", "-n", "web")
    done = command(*words, *target, "--format", "json", timeout=60)
    assert done.returncode == expect, done.stdout + done.stderr
    assert all(line.startswith("GET ") for line in server.asked)
    return json.loads(done.stdout)


def first(report):
    return report["findings"][0]["cause"], report["findings"][0]["confidence"]


def test_a_cluster_that_is_well(api):
    report = judge(api(cluster()), "https://shop.example/cart", expect=0)
    assert report["healthy"]
    assert [(hop["product"], hop["state"]) for hop in report["chain"]] == [
        ("ingress", "unknown"), ("service", "good"), ("pod", "good"),
    ]


def test_a_selector_that_finds_no_pod(api):
    report = judge(api(cluster(pods=[pod(metadata__labels={"app": "store"})], slices=[])), "shop", expect=1)
    cause, confidence = first(report)
    assert (cause, confidence > 0.8) == ("no-endpoints-k8s", True), report["findings"]


def test_a_target_port_that_no_container_has(api):
    containers = copy.deepcopy(pod()["spec"]["containers"])
    containers[0]["ports"] = [{"containerPort": 9000}]
    refused = controller_log("connect() failed (111: Connection refused) while connecting to upstream")
    report = judge(api(cluster(pods=[pod(spec__containers=containers)], **refused)), expect=1)
    assert first(report)[0] == "port-targetport-mismatch-k8s", report["findings"]


def controller_log(message):
    when = NOW.strftime("%Y/%m/%d %H:%M:%S")
    line = (
        f'{when} [error] 31#31: *5 {message}, client: 10.0.0.9, server: shop.example, '
        'request: "GET /cart HTTP/1.1", upstream: "http://10.42.0.7:8000/cart", host: "shop.example"\n'
    )
    controller = {
        "metadata": {"name": "ingress-nginx-controller-1", "namespace": "ingress-nginx"},
        "spec": {"containers": [{"name": "controller"}]},
    }
    path = "/api/v1/namespaces/ingress-nginx/pods/ingress-nginx-controller-1/log"
    return {"controllers": [controller], "logs": {path: line}}


def test_a_pod_that_was_killed_for_its_memory(api):
    status = {
        "name": "app",
        "ready": True,
        "restartCount": 3,
        "state": {"running": {"startedAt": ago(20)}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": ago(22)}},
    }
    log = controller_log("upstream prematurely closed connection while reading response header from upstream")
    report = judge(api(cluster(pods=[pod(status__containerStatuses=[status])], **log)), expect=1)
    assert first(report)[0] == "oom-kill-cgroup", report["findings"]


def test_a_container_that_cannot_import_its_application(api):
    status = {
        "name": "app",
        "ready": False,
        "restartCount": 7,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "finishedAt": ago(20)}},
    }
    broken = pod(
        status__containerStatuses=[status], status__conditions=[{"type": "Ready", "status": "False"}]
    )
    when = (NOW - timedelta(seconds=20)).strftime("%Y-%m-%d %H:%M:%S +0000")
    log = (
        f"[{when}] [7] [ERROR] Exception in worker process\nTraceback (most recent call last):\n"
        '  File "/usr/lib/python3.12/site-packages/gunicorn/util.py", line 371, in import_app\n'
        "    mod = importlib.import_module(module)\n"
        '  File "<frozen importlib._bootstrap>", line 488, in _call_with_frames_removed\n'
        '  File "/srv/app.py", line 1, in <module>\n    import prices\n'
        f"ModuleNotFoundError: No module named 'prices'\n[{when}] [1] [ERROR] Reason: Worker failed to boot.\n"
    )
    path = "/api/v1/namespaces/web/pods/shop-6d9-1/log previous"
    answers = cluster(pods=[broken], slices=[endpoint_slice("10.42.0.7", ready=False)], logs={path: log})
    report = judge(api(answers), "https://shop.example/", expect=1)
    assert first(report)[0] == "app-import-error", report["findings"]
    below = [consequence["cause"] for consequence in report["findings"][0]["consequences"]]
    assert "crash-loop" in below, report["findings"][0]


def test_a_policy_that_lets_nobody_in(api):
    policy = {
        "metadata": {"name": "deny-all", "namespace": "web"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
    log = controller_log("upstream timed out (110: Connection timed out) while connecting to upstream")
    report = judge(api(cluster(policies=[policy], **log)), expect=1)
    assert first(report)[0] == "netpol-deny", report["findings"]


def test_what_may_not_be_listed_is_said(api):
    answers = cluster()
    answers["/api/v1/namespaces/web/events"] = 403
    report = judge(api(answers), expect=0)
    assert [item["check"] for item in report["skipped"]] == ["GET /api/v1/namespaces/web/events"]
    assert "403 events is forbidden" in report["skipped"][0]["reason"]


def test_a_kubeconfig_with_a_certificate_and_a_token(api, tmp_path, certificate):
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = api(cluster(), token="t0ken-of-the-test", context=context)
    config = {
        "apiVersion": "v1",
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "ann", "namespace": "web"}}],
        "clusters": [
            {
                "name": "lab",
                "cluster": {
                    "server": f"https://localhost:{server.port}",
                    "certificate-authority-data": base64.b64encode(cert.read_bytes()).decode(),
                },
            }
        ],
        "users": [{"name": "ann", "user": {"token": "t0ken-of-the-test"}}],
    }
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    done = command("doctor", "--kubernetes", "--kubeconfig", path, "--format", "json", timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "t0ken-of-the-test" not in done.stdout + done.stderr
    config["users"][0]["user"]["token"] = "another"
    path.write_text(json.dumps(config))
    done = command("doctor", "--kubernetes", "--kubeconfig", path, timeout=60)
    assert done.returncode == 3 and "401 Unauthorized" in done.stderr, done.stderr
    # A certificate that nobody known has signed.
    del config["clusters"][0]["cluster"]["certificate-authority-data"]
    path.write_text(json.dumps(config))
    done = command("doctor", "--kubernetes", "--kubeconfig", path, timeout=60)
    assert done.returncode == 3 and "certificate" in done.stderr, done.stderr


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kubernetes")
    cert, key = folder / "cert.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-addext", "basicConstraints=critical,CA:FALSE", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*words, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def test_a_cluster_that_cannot_be_reached(tmp_path):
    words = ("doctor", "--kubernetes", "--kubernetes-server", "http://127.0.0.1:1")
    done = command(*words, timeout=60)
    assert done.returncode == 3 and "http://127.0.0.1:1/api/v1/namespaces/default/pods" in done.stderr, done.stderr
    done = command("doctor", "--kubernetes", "--kubeconfig", tmp_path / "none", timeout=60)
    assert done.returncode == 3 and "none" in done.stderr
