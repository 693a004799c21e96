"""All workers are busy and the queue of the socket is full: connections time out."""

CAUSE = "workers-saturated"
CONSEQUENCES = ("tcp-backlog-overflow",)


def run(lab):
    # With cookies the kernel acknowledges connections that nobody can accept, and they fail later.
    lab.command("sysctl", "-w", "net.ipv4.tcp_syncookies=0")
    lab.nginx(location="proxy_connect_timeout 2s; proxy_read_timeout 60s;")
    lab.gunicorn("--backlog", "2", "--timeout", "120")
    lab.hold(8)
    lab.saw("nginx/error.log", "while connecting to upstream")
    lab.get("/", 504)
