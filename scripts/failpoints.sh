#!/usr/bin/env bash
# The command with failpoints, for the crash tests.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'EOF'
usage: scripts/failpoints.sh

Builds `lakemill` with the failpoints of host/failpoint into target/failpoints, and then the plain one again, which is the one
to use. Dependencies are shared; only the host is built twice.
EOF
}

case "${1:-}" in
  "") ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

read -ra cargo <<<"${CARGO:-cargo}"
"${cargo[@]}" build --release --workspace --features lakemill-failpoint/on
mkdir -p target/failpoints
cp target/release/lakemill target/failpoints/lakemill
"${cargo[@]}" build --release --workspace
