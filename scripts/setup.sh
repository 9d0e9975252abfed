#!/usr/bin/env bash
# What this machine must have before anything is built: Debian packages, and Rust.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'EOF'
usage: scripts/setup.sh [build] [lanes]

build  (default) what the build needs: a C compiler, make, pkg-config, OpenSSL's headers, Rust 1.95 or newer.
lanes  what the test lanes need beside it: Java 17 and Maven (Kafka, Debezium), PostgreSQL, Python with venv, curl.

Installs what is missing with apt-get if it may (root on a Debian), else says what is missing. Does nothing, and says
nothing, if all is there. Jars and Python packages are fetched later, by the scripts that use them.
EOF
}

missing=()
# need PACKAGE COMMAND...: the package, unless the command succeeds.
need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

build_needs() {
  need gcc command -v cc
  need g++ command -v c++
  need make command -v make
  need pkg-config command -v pkg-config
  need libssl-dev pkg-config --exists openssl
}

lanes_needs() {
  need openjdk-17-jdk-headless command -v java
  need maven command -v mvn
  need postgresql ls /usr/lib/postgresql/*/bin/initdb
  need python3-venv "${PYTHON:-python3}" -c "import ensurepip, venv"
  need curl command -v curl
  need util-linux command -v flock
}

check_rust() {
  local version
  version=$(cargo --version 2>/dev/null | cut -d' ' -f2) || version=
  if [ -z "$version" ] || [ "$(printf '%s\n' 1.95 "$version" | sort -V | head -1)" != 1.95 ]; then
    echo "setup: Rust 1.95 or newer is needed (found: ${version:-none}); install it with rustup" >&2
    exit 1
  fi
}

[ $# -gt 0 ] || set -- build
for part in "$@"; do
  case "$part" in
    -h | --help) usage; exit 0 ;;
    build) build_needs ;;
    lanes) lanes_needs ;;
    *) usage >&2; exit 2 ;;
  esac
done

if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${missing[*]}" >&2
    if [[ " ${missing[*]} " == *" postgresql "* ]]; then
      # The package would start a server of its own on port 5432; the scripts make theirs.
      mkdir -p /etc/postgresql-common/createcluster.d
      echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/lakemill.conf
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "setup: missing ${missing[*]}; on a Debian: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi
check_rust
