"""A rule of the firewall drops packets to the server."""

CAUSE = "firewall-drop"


def run(lab):
    lab.nginx(location="proxy_connect_timeout 2s;")
    lab.gunicorn()
    lab.command("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "8000", "-j", "DROP")
    lab.get("/", 504, times=2)
