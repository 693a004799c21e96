"""All local ports to the server are in TIME_WAIT."""

CAUSE = "ephemeral-port-exhaustion"


def run(lab):
    lab.command("sysctl", "-w", "net.ipv4.ip_local_port_range=32768 32815")
    lab.command("sysctl", "-w", "net.ipv4.tcp_tw_reuse=0")
    lab.nginx()
    lab.gunicorn("--worker-class", "gthread", "--threads", 4, "--keep-alive", 0)
    # On one connection, so that the client needs no ports of its own.
    import http.client

    client = http.client.HTTPConnection("127.0.0.1", 80, timeout=10)
    statuses = []
    while 502 not in statuses and len(statuses) < 500:
        client.request("GET", "/", headers={"Host": "shop.example"})
        response = client.getresponse()
        response.read()
        statuses.append(response.status)
    lab.prove(502 in statuses, "no port was missing")
    lab.saw("nginx/error.log", "(99: Cannot assign requested address)")
