#!/usr/bin/env bash
# Resolves requirements.in of the tests and of the lab to the newest versions and pins them all in requirements.txt beside it.
set -euo pipefail
cd "$(dirname "$0")/.."

for place in tests lab; do
    folder="$(mktemp -d)"
    trap 'rm -rf "$folder"' EXIT
    python3 -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$place/requirements.in"
    {
        echo "# Written by tests/lock.sh from requirements.in; do not edit."
        "$folder/bin/python" -m pip freeze
    } >"$place/requirements.txt"
    rm -rf "$folder"
done
