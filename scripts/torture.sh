#!/usr/bin/env bash
# The long form of the crash lane, with a broker of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'USAGE'
usage: scripts/torture.sh [--seed N] [SCENARIO COUNT]...

Kills `lakemill` under live load from a real broker, and lets an oracle look at every row (tests/torture). Without
arguments it runs what docs/reliability.md reports: `kills 500 failpoints 20 replies 200 zombies 100 rebalances 100
restarts 50 faults 500 topics 20 swaps 1000 trials 200 torn 1`. Prints a JSON line per scenario; fails at the
first row that is lost, doubled or out of order, with the seed to see it again.
USAGE
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac
[ $# -gt 0 ] || set -- kills 500 failpoints 20 replies 200 zombies 100 rebalances 100 restarts 50 faults 500 topics 20 swaps 1000 trials 200 torn 1

read -ra cargo <<<"${CARGO:-cargo}"
here=$PWD/target/lanes/torture
make --no-print-directory guests
scripts/build-guest.sh tests/guests/* --out target/guests
scripts/failpoints.sh
"${cargo[@]}" build --release --workspace --examples
scripts/readers.sh
stop_servers() {
  scripts/kafka.sh down "$here"
  rm -rf "$here"
}
trap stop_servers EXIT
trap 'exit 130' INT TERM
scripts/kafka.sh down "$here"
rm -rf "$here"
LAKEMILL_TEST_BROKERS=$(scripts/kafka.sh up "$here")
export LAKEMILL_TEST_BROKERS LAKEMILL_TORTURE_KAFKA=$here
"${cargo[@]}" test --release --workspace --test torture -- "$@"
