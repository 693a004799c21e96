#!/usr/bin/env bash
# Installs what the tests need: Debian packages and a Python virtual environment in .venv with pinned versions.
# `tests/setup.sh bench` adds the proxies and load generators that `cargo xtask bench` compares with.
# Says what it does, does nothing the second time, and fails when something is still missing at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

# One line a tool: the command that must exist, and the Debian package that brings it.
tools=(
    "cc gcc"
    "make make"
    "curl curl"
    "nghttp nghttp2-client"
    "openssl openssl"
    "slowhttptest slowhttptest"
    "systemd-socket-activate systemd"
)
if [ "${1:-}" = bench ]; then
    tools+=(
        "nginx nginx-light"
        "haproxy haproxy"
        "wrk wrk"
        "h2load nghttp2-client"
    )
fi

# Daemons live in /usr/sbin, which is not on everybody's PATH.
PATH="$PATH:/usr/sbin:/sbin"

missing_packages() {
    local command package
    for tool in "${tools[@]}"; do
        read -r command package <<<"$tool"
        command -v "$command" >/dev/null || echo "$package"
    done
    # Debian's python3 comes without the module that makes virtual environments.
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

mapfile -t packages < <(missing_packages | sort -u)
if [ "${#packages[@]}" -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "These tools are missing. On Debian or Ubuntu, install them with:" >&2
        echo >&2
        echo "    sudo apt-get install --no-install-recommends ${packages[*]}" >&2
        exit 1
    fi
    echo "==> setup: apt-get install ${packages[*]}"
    apt-get update -qq
    # Keeps Debian from starting the daemons it installs: the tests start their own, on free ports.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
    mapfile -t packages < <(missing_packages | sort -u)
    if [ "${#packages[@]}" -gt 0 ]; then
        echo "error: still missing after the installation: ${packages[*]}" >&2
        exit 1
    fi
fi

python3 - <<'EOF'
import sys
if sys.version_info < (3, 11):
    sys.exit(f"error: the tests need Python 3.11 or later, python3 is {sys.version.split()[0]}")
EOF

# The stamp is what the environment was made from; anything else in it means making it anew.
stamp="$(python3 --version; python3 -c 'import sys; print(sys.base_prefix)'; cat tests/requirements.txt)"
if [ "$(cat .venv/stamp 2>/dev/null || true)" != "$stamp" ]; then
    echo "==> setup: .venv with $(grep -c '==' tests/requirements.txt) pinned packages"
    rm -rf .venv
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input -r tests/requirements.txt
    printf '%s\n' "$stamp" >.venv/stamp
fi
