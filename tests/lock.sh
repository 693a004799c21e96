#!/usr/bin/env bash
# Resolves tests/requirements.in to the newest versions and pins them all in tests/requirements.txt.
set -euo pipefail
cd "$(dirname "$0")"

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r requirements.in
{
    echo "# Written by tests/lock.sh from requirements.in; do not edit."
    "$folder/bin/python" -m pip freeze
} >requirements.txt
