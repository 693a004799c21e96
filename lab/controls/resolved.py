"""Control: there were 502 some minutes ago, and all has been well since."""

CAUSE = None


def run(lab):
    import re
    import time
    from pathlib import Path

    lab.nginx()
    lab.get("/", 502, times=3)
    lab.gunicorn()
    lab.get("/", 200, times=5)
    if lab.without == "proxy-logs":
        return
    # Ten minutes pass: what is in the log was longer ago.
    past = time.time() - 600
    path = Path("/var/log/nginx/error.log")
    when = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(past))
    path.write_text(re.sub(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", when, path.read_text(), flags=re.M))
    path = Path("/var/log/nginx/access.log")
    when = time.strftime("%d/%b/%Y:%H:%M:%S", time.localtime(past))
    lines = [re.sub(r"\[[^ ]+ ", f"[{when} ", line) if " 502 " in line else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
