#!/usr/bin/env bash
# The differential test at full length: random tables of a real PostgreSQL in every mode of Debezium.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'EOF'
usage: scripts/differential.sh [--tables N] [--seed N]

Builds what is missing and compares N (1000) random tables in nine settings of Debezium, with the schema part and without it,
read with the types of the schema part, with declared columns and with inferred ones: 18 connectors, three bronze tables for each
table. Prints every kind of difference, and as its last line the seed and the sums; fails if there is a difference. Half an hour on two cores.
Another run with the seed that was printed makes the same tables and the same changes.
EOF
}

tables=1000
seed=$((RANDOM * 32768 + RANDOM))
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --tables) tables=$2; shift 2 ;;
    --seed) seed=$2; shift 2 ;;
    *) usage >&2; exit 2 ;;
  esac
done

make --no-print-directory build guests
scripts/readers.sh
scripts/debezium.sh fetch
exec target/tools/venv/bin/python tests/postgres/differential/main.py --dir target/lanes/differential-long \
  --lakemill target/release/lakemill --guest target/guests/flatten.wasm --tables "$tables" --settings 9 --seed "$seed"
