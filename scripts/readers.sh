#!/usr/bin/env bash
# The Python environment of the tests: three readers of Delta tables and a Kafka client.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'EOF'
usage: scripts/readers.sh

Makes target/tools/venv with the packages that scripts/readers.txt pins. Does nothing, and says nothing, if it is there.
PYTHON names the interpreter to make it with (python3).
EOF
}

case "${1:-}" in
  "") ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

venv=target/tools/venv
mkdir -p target/tools
exec 9>target/tools/.venv.lock
flock 9
cmp -s scripts/readers.txt "$venv/readers.txt" && exit 0
echo "installing the Delta readers into $venv" >&2
rm -rf "$venv"
"${PYTHON:-python3}" -m venv "$venv" || { echo "no Python venv: run scripts/setup.sh lanes" >&2; exit 1; }
"$venv/bin/pip" install -q --disable-pip-version-check --no-input -r scripts/readers.txt
cp scripts/readers.txt "$venv/readers.txt"
