#!/usr/bin/env bash
# Serves the application on 127.0.0.1:8000, or on PORT. Makes .venv the first time; VENV names another one.
# One worker, so that killing it leaves nobody to answer.
set -euo pipefail
cd "$(dirname "$0")"
venv="${VENV:-.venv}"
if [ ! -x "$venv/bin/gunicorn" ]; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt
fi
exec "$venv/bin/gunicorn" app:app \
    --worker-class uvicorn_worker.UvicornWorker --workers 1 \
    --bind "127.0.0.1:${PORT:-8000}" --pid server.pid
