"""A stack of real programs in namespaces of its own: what a scenario builds, breaks, and proves to be broken.

Everything of a scenario lives in its own network, mount and (unless it needs the kernel's log) process namespace, so that
it may use the usual ports and paths: nginx reads /etc/nginx/nginx.conf, logs stand in /var/log, the application in
/srv/shop. What is written there lies in the scenario's folder outside.
"""

import contextlib
import datetime
import http.client
import os
import pwd
import signal
import socket
import ssl
import subprocess
import textwrap
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-lab"
SHOP = Path("/srv/shop")
LOGS = Path("/var/log")

#: The address at which most applications listen.
APP = "127.0.0.1:8000"

#: An application that answers at once, and has a slow path.
HELLO = """
import time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(60)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\\n"]
"""

#: The same for ASGI.
ASGI = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/slow":
        await asyncio.sleep(60)
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"3")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok\\n"})
"""


class Failed(Exception):
    """The scenario could not be built, or the fault did not happen."""


def until(condition, what: str, seconds: float = 20):
    """Returns the first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False


def accepts_unix(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


class Process:
    """A program with its output in a file."""

    def __init__(self, words, *, log: Path, user=None, env=None, prefix=()):
        self.words = [*map(str, prefix), *map(str, words)]
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        identity = {}
        if user:
            entry = pwd.getpwnam(user)
            identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [entry.pw_gid]}
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                self.words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=SHOP,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                **identity,
            )
        self.pid = self.popen.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def runs(self) -> bool:
        return self.popen.poll() is None

    def children(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == self.pid:
                        found.append(int(entry.name))
        return sorted(found)

    def kill(self, number=signal.SIGTERM):
        """Ends it and waits for the end."""
        with contextlib.suppress(ProcessLookupError):
            self.popen.send_signal(number)
        try:
            self.popen.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.popen.wait(15)
        return self


class Lab:
    """The scenario's own world."""

    def __init__(self, name: str, without: str | None):
        self.name = name
        self.without = without
        self.processes: list[Process] = []
        self.threads: list[threading.Thread] = []
        self.ending = threading.Event()

    # Programs.

    def start(self, words, *, log, **options) -> Process:
        process = Process(words, log=LOGS / log, **options)
        self.processes.append(process)
        return process

    def end(self):
        self.ending.set()
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(5)

    def command(self, *words, check=True, **options) -> str:
        result = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=60, **options)
        if check and result.returncode != 0:
            raise Failed(f"{' '.join(map(str, words))}: {result.stderr.strip() or result.stdout.strip()}")
        return result.stdout

    def file(self, path, text: str, mode: int = 0o644) -> Path:
        path = SHOP / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        path.chmod(mode)
        return path

    # Proxies.

    def nginx(self, to=APP, *, scheme="http", location="", http="", server="", main="", events="", uri="", upstream=None,
              locations="", listen="80") -> Process:
        """nginx with one site that sends everything on; `upstream` is the inside of a group `app`."""
        log = "/dev/null" if self.without == "proxy-logs" else "/var/log/nginx/error.log"
        access = "off" if self.without == "proxy-logs" else "/var/log/nginx/access.log timed"
        pass_to = {"uwsgi": "uwsgi_pass ", "grpc": "grpc_pass grpc://"}.get(scheme, f"proxy_pass {scheme}://")
        target = "app" if upstream else to
        group = f"    upstream app {{\n        {upstream}\n    }}\n" if upstream else ""
        include = "        include /etc/nginx/uwsgi_params;\n" if scheme == "uwsgi" else ""
        self.nginx_configuration = (
            f"user www-data;\nworker_processes 1;\npid /run/nginx.pid;\nerror_log {log};\n{main}\n"
            f"events {{ {events} }}\n"
            "http {\n"
            "    log_format timed '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent '\n"
            "        '\"$http_referer\" \"$http_user_agent\" us=$upstream_status ua=\"$upstream_addr\" '\n"
            "        'rt=$request_time uct=$upstream_connect_time uht=$upstream_header_time urt=$upstream_response_time';\n"
            f"    access_log {access};\n{http}\n{group}"
            f"    server {{\n    listen {listen};\n    server_name shop.example;\n    {server}\n"
            f"    location / {{\n{include}"
            f"        {pass_to}{target}{uri};\n        {location}\n    }}\n    {locations}\n    }}\n"
            "}\n"
        )
        Path("/etc/nginx/nginx.conf").write_text(self.nginx_configuration)
        Path("/var/log/nginx").mkdir(exist_ok=True)
        process = self.start(["/usr/sbin/nginx", "-g", "daemon off;"], log="nginx.out")
        if listen == "80":
            until(lambda: accepts(80) or not process.runs(), "nginx")
        return process

    def apache(self, to=APP, *, scheme="http", location="", modules=(), extra="") -> Process:
        log = "/dev/null" if self.without == "proxy-logs" else "/var/log/apache2/error.log"
        access = "/dev/null" if self.without == "proxy-logs" else "/var/log/apache2/access.log"
        Path("/var/log/apache2").mkdir(exist_ok=True)
        needed = ["mpm_event", "authz_core", "proxy", "proxy_http", "proxy_uwsgi", "ssl", "socache_shmcb", *modules]
        loads = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in needed)
        pass_lines = f"ProxyPass / {scheme}://{to}/ {location}\n" if to else ""
        path = self.file(
            "httpd.conf",
            f"ServerRoot /etc/apache2\nServerName shop.example\nPidFile /run/apache2.pid\nListen 80\nUser www-data\n"
            f"Group www-data\n{loads}ErrorLog {log}\nCustomLog {access} combined_placeholder\n{pass_lines}{extra}\n".replace(
                "combined_placeholder", '"%h %l %u %t \\"%r\\" %>s %b"'
            ),
        )
        process = self.start(["/usr/sbin/apache2", "-f", path, "-DFOREGROUND"], log="apache2.out")
        until(lambda: accepts(80) or not process.runs(), "apache")
        return process

    def haproxy(self, server=f"s1 {APP}", *, backend="", frontend="", bind="*:80", defaults="", global_="") -> Process:
        """HAProxy, whose log goes to a file by way of a socket, as syslog does it."""
        self._syslog()
        path = self.file(
            "haproxy.cfg",
            f"global\n    log /dev/shm/log local0\n    maxconn 1000\n    {global_}\n"
            f"defaults\n    mode http\n    log global\n    option httplog\n    timeout connect 3s\n    timeout client 30s\n"
            f"    timeout server 3s\n    {defaults}\n"
            f"frontend web\n    bind {bind}\n    {frontend}\n    default_backend app\n"
            f"backend app\n    {backend}\n    server {server}\n",
        )
        process = self.start(["/usr/sbin/haproxy", "-f", path], log="haproxy.out")
        until(lambda: accepts(80) or not process.runs(), "haproxy")
        return process

    def _syslog(self):
        """Writes what HAProxy says into /var/log/haproxy.log, as rsyslog does."""
        logger = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        logger.bind("/dev/shm/log")
        Path("/dev/shm/log").chmod(0o666)
        target = "/dev/null" if self.without == "proxy-logs" else "/var/log/haproxy.log"

        def copy():
            with open(target, "a", buffering=1) as out:
                while True:
                    line = logger.recv(65536).decode(errors="replace").rstrip("\n\0")
                    # `<134>Nov 26 15:09:27 haproxy[12]: ...`: the priority goes, the name of the machine comes.
                    line = line.split(">", 1)[-1]
                    out.write(f"{line[:15]} lab {line[16:]}\n")

        threading.Thread(target=copy, daemon=True).start()

    def caddy(self, to=APP, *, scheme="http", options="", site="") -> Process:
        def output(path):
            # Caddy would change the mode of /dev/null.
            return "output discard" if self.without == "proxy-logs" else f"output file {path} {{\n            mode 644\n        }}"

        path = self.file(
            "Caddyfile",
            f"{{\n    admin off\n    auto_https off\n    log {{\n        {output('/var/log/caddy.log')}\n    }}\n}}\n"
            f":80 {{\n    log {{\n        {output('/var/log/caddy-access.log')}\n    }}\n    {site}\n"
            f"    reverse_proxy {scheme}://{to} {{\n    {options}\n    }}\n}}\n",
        )
        process = self.start([VENV / "bin/caddy", "run", "--config", path, "--adapter", "caddyfile"], log="caddy.out",
                             env={"HOME": "/tmp", "XDG_DATA_HOME": "/tmp", "XDG_CONFIG_HOME": "/tmp"})
        until(lambda: accepts(80) or not process.runs(), "caddy")
        return process

    def envoy(self, to=APP, *, timeout="3s", cluster="", route="") -> Process:
        log = "/dev/null" if self.without == "proxy-logs" else "/var/log/envoy.log"
        host, port = to.rsplit(":", 1)
        path = self.file(
            "envoy.yaml",
            f"""
static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 0.0.0.0, port_value: 80 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {log}
          route_config:
            virtual_hosts:
            - name: shop
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: app, timeout: {timeout} }}
                {route}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: app
    connect_timeout: 3s
    type: STATIC
    {cluster}
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {port} }} }} }}
""".lstrip("\n"),
        )
        words = [VENV / "bin/envoy", "-c", path, "--file-flush-interval-msec", "50", "--use-dynamic-base-id", "--concurrency", "1"]
        process = self.start(words, log="envoy.out")
        until(lambda: accepts(80) or not process.runs(), "envoy")
        return process

    # Servers.

    def app(self, text: str, name="app.py") -> Path:
        return self.file(name, text)

    def server(self, program, *words, log, app=HELLO, version=None, user="www-data", env=None, ready=8000, prefix=()) -> Process:
        if app is not None:
            self.app(app)
        venv = VENV / f"gunicorn-{version}" if version else VENV
        if self.without == "server-logs":
            log = "../../dev/null"
        path = {"PATH": f"{venv}/bin:{os.environ['PATH']}", "VIRTUAL_ENV": str(venv), "HOME": "/tmp"}
        process = self.start([venv / "bin" / program, *words], log=log, user=user, env={**path, **(env or {})}, prefix=prefix)
        if isinstance(ready, int):
            until(lambda: accepts(ready) or not process.runs(), f"{program} at {ready}")
        elif ready:
            until(lambda: ready(process), program)
        return process

    def gunicorn(self, *words, app=HELLO, bind=APP, target="app:app", **options) -> Process:
        """Gunicorn with one sync worker, unless told otherwise; its log is /var/log/gunicorn.log."""
        control = [] if options.get("version") else ["--no-control-socket"]
        if bind != APP and "ready" not in options:
            port = bind.rsplit(":", 1)[-1]
            options["ready"] = int(port) if port.isdigit() else (lambda process: accepts_unix(bind.removeprefix("unix:")))
        return self.server("gunicorn", "--bind", bind, *control, *words, target, log="gunicorn.log", app=app, **options)

    def uvicorn(self, *words, app=ASGI, port=8000, target="app:app", **options) -> Process:
        return self.server("uvicorn", "--port", port, *words, target, log="uvicorn.log", app=app, **({"ready": port} | options))

    def hypercorn(self, *words, app=ASGI, **options) -> Process:
        return self.server("hypercorn", "--bind", APP, *words, "app:app", log="hypercorn.log", app=app, **options)

    def daphne(self, *words, app=ASGI, **options) -> Process:
        return self.server("daphne", "-b", "127.0.0.1", "-p", 8000, *words, "app:app", log="daphne.log", app=app, **options)

    def uwsgi(self, ini: str, app=HELLO, **options) -> Process:
        """uWSGI with the lines of its file; `socket` or `http-socket` is among them."""
        if self.without == "server-logs":
            ini += "\ndisable-logging = true"
        path = self.file(
            "uwsgi.ini",
            f"[uwsgi]\nmaster = true\ndie-on-term = true\nmodule = app:app\nvirtualenv = {VENV}\nprocesses = 1\nenable-threads = true\n"
            + textwrap.dedent(ini).strip() + "\n",
        )
        return self.server("uwsgi", path, log="uwsgi.log", app=app, **options)

    # Dependencies.

    def postgres(self, **settings) -> Process:
        """PostgreSQL at port 5432, with the user and database `shop`."""
        home = Path(self.command("sh", "-c", "ls -d /usr/lib/postgresql/*/bin | tail -1").strip())
        data = Path("/srv/postgres")
        data.mkdir()
        self.command("chown", "postgres:", data)
        user = {"user": "postgres", "cwd": "/srv", "extra_groups": []}
        self.command(home / "initdb", "-D", data, "-A", "trust", "-N", "-E", "UTF8", "--locale=C.UTF-8", **user)
        values = {"unix_socket_directories": "/tmp", "fsync": "off", "log_line_prefix": "%m [%p] %q%u@%d ", **settings}
        with (data / "postgresql.conf").open("a") as out:
            out.writelines(f"{name} = '{value}'\n" for name, value in values.items())
        process = self.start([home / "postgres", "-D", data], log="postgresql.log", user="postgres")
        until(lambda: accepts(5432), "postgres")
        self.sql("CREATE USER shop SUPERUSER", database="postgres")
        self.sql("CREATE DATABASE shop OWNER shop", database="postgres")
        self.sql("CREATE TABLE goods (id int PRIMARY KEY, name text); INSERT INTO goods VALUES (1, 'tea')")
        return process

    def sql(self, text: str, database="shop") -> str:
        user = "postgres" if database == "postgres" else "shop"
        return self.command("psql", "-h", "127.0.0.1", "-U", user, "-d", database, "-v", "ON_ERROR_STOP=1", "-Atc", text)

    def mariadb(self, *words) -> Process:
        """MariaDB at port 3306, with the user and database `shop`."""
        data = Path("/srv/mariadb")
        data.mkdir()
        self.command("chown", "www-data:", data)
        self.command("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
                     "--user=www-data", "--skip-test-db")
        process = self.start(
            ["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}", "--socket=/tmp/mariadb.sock", "--port=3306",
             "--bind-address=127.0.0.1", *words],
            log="mariadb.log", user="www-data",
        )
        until(lambda: accepts(3306), "mariadb", 40)
        self.maria("CREATE DATABASE shop; CREATE USER shop@127.0.0.1 IDENTIFIED BY 'of-today'; GRANT ALL ON shop.* TO shop@127.0.0.1")
        self.maria("CREATE TABLE shop.goods (id int PRIMARY KEY, name text) ENGINE=InnoDB; INSERT INTO shop.goods VALUES (1, 'tea')")
        return process

    def rabbitmq(self, **settings) -> Process:
        """RabbitMQ at port 5672; its log is /var/log/rabbitmq.log."""
        conf = self.file("rabbitmq.conf", "".join(f"{name.replace('__', '.')} = {value}\n" for name, value in settings.items()))
        env = {
            "HOME": "/tmp", "RABBITMQ_NODENAME": "lab@localhost", "RABBITMQ_MNESIA_BASE": "/tmp/mnesia", "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(conf), "RABBITMQ_ENABLED_PLUGINS_FILE": "/tmp/plugins", "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_PID_FILE": "/tmp/rabbitmq.pid", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        }
        process = self.start(["sh", "-c", "exec /usr/lib/rabbitmq/bin/rabbitmq-server"], log="rabbitmq.log", env=env)
        until(lambda: accepts(5672) or not process.runs(), "rabbitmq", 60)
        return process

    def maria(self, text: str):
        self.command("mariadb", "--no-defaults", "--socket=/tmp/mariadb.sock", "--user=root", "-e", text)

    def redis(self, *words, port=6379) -> Process:
        process = self.start(["redis-server", "--port", port, "--save", "", "--dir", "/tmp", *words], log="redis.log")
        until(lambda: accepts(port), "redis")
        return process

    # Requests.

    def get(self, path="/", expect=None, *, port=80, timeout=15.0, method="GET", body=None, headers=None, host="127.0.0.1", times=1):
        """Makes requests of a client with a new connection each; `expect` is a status, several, or a word for a failure."""
        statuses = []
        for _ in range(times):
            statuses.append(self._one(path, port, timeout, method, body, headers or {}, host))
        allowed = (expect,) if not isinstance(expect, tuple) else expect
        if expect is not None and any(status not in allowed for status in statuses):
            raise Failed(f"{method} {path} at {port}: {statuses} instead of {expect}")
        return statuses[-1]

    def _one(self, path, port, timeout, method, body, headers, host):
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers={"Host": "shop.example", **headers})
            response = connection.getresponse()
            response.read()
            return response.status
        except http.client.IncompleteRead:
            return "truncated"
        except (http.client.BadStatusLine, ConnectionResetError, BrokenPipeError):
            return "closed"
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "timeout"
        finally:
            connection.close()

    def load(self, *paths, every=0.2, concurrent=1, **options):
        """Goes on asking in the background, until the scenario ends."""

        def ask(path):
            while not self.ending.wait(every):
                with contextlib.suppress(Exception):
                    self.get(path, **options)

        for path in paths:
            for _ in range(concurrent):
                self.threads.append(threading.Thread(target=ask, args=(path,), daemon=True))
                self.threads[-1].start()

    def hold(self, count: int, path="/slow", port=80):
        """Sends requests and leaves their connections open."""
        self.held = getattr(self, "held", [])
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
            self.held.append(connection)

    # Proofs.

    def saw(self, log, *words, seconds=15):
        """Waits until all the words stand in a log: the fault has happened as it was meant to."""
        path = LOGS / log
        if self.without == "proxy-logs" and str(log).startswith(("nginx/", "apache2/", "haproxy", "caddy", "envoy.log")):
            return
        if self.without == "server-logs" and str(log).startswith(("gunicorn", "uvicorn", "uwsgi", "hypercorn", "daphne")):
            return
        until(
            lambda: path.exists() and all(word in path.read_text(errors="replace") for word in words),
            f"{' and '.join(map(repr, words))} in {path}",
            seconds,
        )

    def prove(self, true, what: str):
        if not true:
            raise Failed(f"the fault did not happen: {what}")

    # The network.

    def peer(self, name="app", address="10.1.0.2") -> list[str]:
        """Another machine: a network namespace behind a pair of virtual devices. Returns what to put before its commands."""
        self.command("ip", "netns", "add", name)
        self.command("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        subnet = address.rsplit(".", 1)[0]
        self.command("ip", "addr", "add", f"{subnet}.1/24", "dev", f"to-{name}")
        self.command("ip", "link", "set", f"to-{name}", "up")
        inside = ["ip", "netns", "exec", name]
        self.command(*inside, "ip", "addr", "add", f"{address}/24", "dev", "eth0")
        self.command(*inside, "ip", "link", "set", "eth0", "up")
        self.command(*inside, "ip", "link", "set", "lo", "up")
        return inside

    def dns(self, records: dict[str, str], port=53) -> dict[str, str]:
        """A name server; the records may be changed: an address, or `nxdomain`, `servfail`, `silent`."""
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", port))

        def serve():
            while True:
                query, client = server.recvfrom(512)
                answer = _answer(query, records)
                if answer:
                    server.sendto(answer, client)

        threading.Thread(target=serve, daemon=True).start()
        return records

    def certificate(self, name="shop.example", days=30) -> tuple[Path, Path]:
        """A certificate signed by itself, and its key; with negative `days`, one that is out of date."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        cert_path, key_path = SHOP / f"{name}.pem", SHOP / f"{name}.key"
        cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.TraditionalOpenSSL
        key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return cert_path, key_path


def _answer(query: bytes, records: dict[str, str]) -> bytes | None:
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind = int.from_bytes(query[at + 1 : at + 3], "big")
    question = query[12 : at + 5]
    value = records.get(".".join(labels).lower(), "nxdomain")
    if value == "silent":
        return None
    code = {"nxdomain": 3, "servfail": 2}.get(value, 0)
    answers = b""
    if code == 0 and kind == 1:
        answers = b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04" + socket.inet_aton(value)
    head = query[:2] + (0x8180 | code).to_bytes(2, "big") + b"\0\x01" + (1 if answers else 0).to_bytes(2, "big") + b"\0\0\0\0"
    return head + question + answers
