#!/usr/bin/env bash
# Installs what the tests need: Debian packages and a Python virtual environment in .venv with pinned versions.
# `tests/setup.sh bench` adds the proxies and load generators that `cargo xtask bench` compares with, `tests/setup.sh lab`
# everything that the stacks of `cargo xtask lab` are made of, and `smoke` the part of it that the smoke set needs.
# Says what it does, does nothing the second time, and fails when something is still missing at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
what="${1:-}"

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
if [ "$what" = bench ]; then
    tools+=(
        "nginx nginx-light"
        "haproxy haproxy"
        "wrk wrk"
        "h2load nghttp2-client"
    )
fi

if [ "$what" = lab ] || [ "$what" = smoke ]; then
    tools+=(
        "apache2 apache2-bin"
        "haproxy haproxy"
        "ip iproute2"
        "iptables iptables"
        "nginx nginx-light"
        "psql postgresql"
        "redis-server redis-server"
        "unshare util-linux"
    )
fi
if [ "$what" = lab ]; then
    tools+=(
        "mariadbd mariadb-server-core"
        "rabbitmq-server rabbitmq-server"
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
    if [ "$what" = lab ] && [ ! -e /usr/lib/apache2/modules/mod_wsgi.so ]; then
        echo libapache2-mod-wsgi-py3
    fi
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

# environment FOLDER REQUIREMENTS: a virtual environment with pinned packages. The stamp is what it was made from; anything
# else in it means making it anew.
environment() {
    local stamp
    stamp="$(python3 --version; python3 -c 'import sys; print(sys.base_prefix)'; cat "$2")"
    if [ "$(cat "$1/stamp" 2>/dev/null || true)" != "$stamp" ]; then
        echo "==> setup: $1 with $(grep -c '==' "$2") pinned packages"
        rm -rf "$1"
        python3 -m venv "$1"
        "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$2"
        printf '%s\n' "$stamp" >"$1/stamp"
    fi
}

environment .venv tests/requirements.txt

if [ "$what" = lab ] || [ "$what" = smoke ]; then
    environment .venv-lab lab/requirements.txt
    # Versions of Gunicorn that behave otherwise; the oldest needs pkg_resources of setuptools.
    for version in 20.1.0 23.0.0; do
        folder=".venv-lab/gunicorn-$version"
        if [ ! -e "$folder/complete" ]; then
            python3 -m venv --without-pip "$folder"
            .venv-lab/bin/python -m pip --python "$folder/bin/python" install --quiet --disable-pip-version-check --no-input \
                "gunicorn==$version" setuptools==80.9.0
            touch "$folder/complete"
        fi
    done
fi
