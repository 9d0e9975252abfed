#!/usr/bin/env bash
# Runs all tests, and counts them.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'EOF'
usage: scripts/test.sh [LANE...]

Builds what the lanes need, runs them, and prints `N passed, N failed` as its last line, summed over every test program.
Fails if a test failed, if a program did not get to its end, or if nothing ran. Lanes (all of them if none is named):

unit      every crate's own tests, and tests/it: files through real components into tables, the rules of the house
kafka     tests/kafka, with a real broker
postgres  tests/postgres and examples/postgres, with PostgreSQL, Debezium and a real broker

The servers live in target/lanes and are stopped at the end, also after Ctrl-C.
EOF
}

lanes=()
for lane in "$@"; do
  case "$lane" in
    -h | --help) usage; exit 0 ;;
    unit | kafka | postgres) lanes+=("$lane") ;;
    *) usage >&2; exit 2 ;;
  esac
done
[ ${#lanes[@]} -gt 0 ] || lanes=(unit kafka postgres)

here=$PWD/target/lanes
read -ra cargo <<<"${CARGO:-cargo}"
log=$here/test.log
mkdir -p "$here"
: >"$log"
failed_programs=0

stop_servers() {
  scripts/kafka.sh down "$here/kafka"
  rm -rf "$here/kafka"
}
trap stop_servers EXIT
trap 'exit 130' INT TERM

# run WHAT CARGO-TEST-ARGUMENTS...: the output is shown and kept for the count.
run() {
  echo "== $1 ($(date +%T))"
  shift
  "${cargo[@]}" test --release --workspace --no-fail-fast "$@" 2>&1 | tee -a "$log" || failed_programs=$((failed_programs + 1))
}

wanted() {
  [[ " ${lanes[*]} " == *" $1 "* ]]
}

echo "== build ($(date +%T))"
# Builds the plain command, too.
scripts/failpoints.sh
make --no-print-directory guests
scripts/build-guest.sh tests/guests/* --out target/guests
"${cargo[@]}" test --release --workspace --no-run
if wanted kafka || wanted postgres; then
  "${cargo[@]}" test --release --workspace --test kafka --test postgres --no-run
fi
scripts/readers.sh

if wanted unit; then
  run "unit and end to end"
fi
if wanted kafka; then
  scripts/kafka.sh down "$here/kafka"
  rm -rf "$here/kafka"
  LAKEMILL_TEST_BROKERS=$(scripts/kafka.sh up "$here/kafka")
  export LAKEMILL_TEST_BROKERS
  run "a real broker" --test kafka
fi
if wanted postgres; then
  scripts/debezium.sh fetch
  run "a real database" --test postgres
fi
echo "== done ($(date +%T))"

sum() {
  sed -n "s/^test result: .* \([0-9]*\) $1.*/\1/p" "$log" | awk '{ n += $1 } END { print n + 0 }'
}
passed=$(sum passed)
failed=$(sum failed)
if [ "$failed_programs" -gt 0 ] && [ "$failed" = 0 ]; then
  echo "a test program did not get to its end, or did not build" >&2
  failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
