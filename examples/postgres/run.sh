#!/usr/bin/env bash
# PostgreSQL -> Debezium -> Kafka -> Lakemill -> a Delta table, all of it on this machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

usage() {
  cat <<'EOF'
usage: examples/postgres/run.sh [--dir DIR] [--changes FILE]

Starts PostgreSQL, Kafka, Debezium and Lakemill, makes the changes of FILE (examples/postgres/changes.sql), waits until
they are in the Delta table, shows it, and stops everything. All files are in DIR (target/examples/postgres), which is
made anew; the table stays in DIR/lake/bronze, and DIR/orders.jsonl is what the database held in the end.

Needs what `make test` needs; installs and builds what is missing.
EOF
}

dir=$PWD/target/examples/postgres
changes=$here/changes.sql
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --dir) dir=$2; shift 2 ;;
    --changes) changes=$2; shift 2 ;;
    *) usage >&2; exit 2 ;;
  esac
done

say() {
  echo "== $*"
}

say "building what is missing"
scripts/setup.sh build lanes
lakemill=$PWD/target/release/lakemill
[ -x "$lakemill" ] || make --no-print-directory build
[ -f target/guests/flatten.wasm ] || make --no-print-directory guests
scripts/readers.sh

# Asks until the topic has a record.
wait_for_topic() {
  local end=$((SECONDS + 120))
  until [ "$(scripts/kafka.sh count "$dir/kafka" "$1" || echo 0)" -gt 0 ]; do
    if [ "$SECONDS" -ge "$end" ]; then
      echo "nothing came to the topic $1; Debezium's log: $dir/debezium/connect.log" >&2
      exit 1
    fi
  done
}

# Asks until Debezium has confirmed the position: it does so when Kafka has acknowledged every record up to it.
wait_for_position() {
  local end=$((SECONDS + 120))
  local sql="select bool_or(confirmed_flush_lsn > '$1') from pg_replication_slots"
  until [ "$(scripts/postgres.sh sql "$dir/postgres" -tAc "$sql")" = t ]; do
    if [ "$SECONDS" -ge "$end" ]; then
      echo "Debezium did not get to $1; its log: $dir/debezium/connect.log" >&2
      exit 1
    fi
  done
}

pid=
stop() {
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null || true
    wait "$pid" || true
  fi
  scripts/debezium.sh down "$dir/debezium"
  scripts/kafka.sh down "$dir/kafka"
  scripts/postgres.sh remove "$dir/postgres"
}
trap stop EXIT
trap 'exit 130' INT TERM

stop
rm -rf "$dir"
mkdir -p "$dir"
cp "$here/pipeline.yaml" target/guests/flatten.wasm "$dir"

say "PostgreSQL: $(scripts/postgres.sh up "$dir/postgres")"
scripts/postgres.sh sql "$dir/postgres" -f "$here/schema.sql"
# Its one row is made last: once Debezium has told the database that it is in Kafka, all changes before it are.
scripts/postgres.sh sql "$dir/postgres" -c "create table finished (id bigint primary key)"
BROKERS=$(scripts/kafka.sh up "$dir/kafka")
export BROKERS
say "Kafka: $BROKERS"
say "Debezium: $(SCHEMAS=true scripts/debezium.sh up "$dir/debezium" "$dir/kafka" "$dir/postgres")"

# The topic comes with the first event of the snapshot.
wait_for_topic shop.public.orders
"$lakemill" run "$dir/pipeline.yaml" --json >"$dir/lakemill.json" 2>"$dir/lakemill.log" &
pid=$!
say "Lakemill: process $pid, log $dir/lakemill.log"

say "making changes: $changes"
scripts/postgres.sh sql "$dir/postgres" -f "$changes"
last=$(scripts/postgres.sh sql "$dir/postgres" -tAc "select pg_current_wal_lsn()")
scripts/postgres.sh sql "$dir/postgres" -c "insert into finished values (1)"
scripts/postgres.sh sql "$dir/postgres" -tAc "select to_json(o) from orders o order by id" >"$dir/orders.jsonl"
wait_for_position "$last"

say "all changes are in Kafka: $(scripts/kafka.sh count "$dir/kafka" shop.public.orders) records; stopping Lakemill, and running it to the end"
kill "$pid"
wait "$pid" || { cat "$dir/lakemill.log" >&2; exit 1; }
pid=
"$lakemill" run "$dir/pipeline.yaml" --until-caught-up 2>>"$dir/lakemill.log"
target/tools/venv/bin/python "$here/show.py" "$dir/lake/bronze"
say "the table: $dir/lake/bronze"
