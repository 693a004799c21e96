#!/usr/bin/env bash
# Serves the application by the uwsgi protocol (not HTTP) on 127.0.0.1:8000, or on PORT. Makes .venv the first time;
# VENV names another one. One worker, so that killing it leaves nobody to answer.
set -euo pipefail
cd "$(dirname "$0")"
venv="${VENV:-.venv}"
if [ ! -x "$venv/bin/uwsgi" ]; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt
fi
exec "$venv/bin/uwsgi" --master --need-app --die-on-term --workers 1 --enable-threads --threads 4 \
    --uwsgi-socket "127.0.0.1:${PORT:-8000}" --virtualenv "$venv" --module app:app --pidfile server.pid --vacuum
