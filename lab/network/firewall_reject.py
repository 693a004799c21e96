"""A rule of the firewall rejects connections to the server."""

CAUSE = "firewall-reject"


def run(lab):
    lab.nginx()
    lab.gunicorn()
    lab.command("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "8000", "-j", "REJECT", "--reject-with", "tcp-reset")
    lab.get("/", 502, times=3)
