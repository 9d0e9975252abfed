#!/usr/bin/env bash
# Debezium's PostgreSQL connector on a standalone Kafka Connect, for tests and examples.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/service.sh
. scripts/service.sh

usage() {
  cat <<'EOF'
usage: scripts/debezium.sh up DIR KAFKA_DIR POSTGRES_DIR [KEY=VALUE...]
       scripts/debezium.sh down DIR
       scripts/debezium.sh fetch

up     starts Kafka Connect with Debezium 3.3 between the server of `postgres.sh up POSTGRES_DIR` and the broker of
       `kafka.sh up KAFKA_DIR`, waits until the connector runs (asked over REST, on 127.0.0.1 and a free port, which is
       in DIR/rest), and prints the REST address. Changes of table T of schema public go to the topic shop.public.T,
       made with one partition; transactions to shop.transaction. Every KEY=VALUE is a setting of the connector more,
       such as topic.creation.default.partitions=2; SCHEMAS=true puts the schema part into keys and values.
down   stops the Connect of DIR, and no other.
fetch  only gets the jars (Maven); `up` does it when needed.
EOF
}

version=3.3.1.Final
tools=$PWD/target/tools/debezium

fetch() {
  scripts/kafka.sh fetch
  maven_jars "$tools/debezium-connector-postgres" "io.debezium:debezium-connector-postgres:$version"
}

# $1: directory, $2: brokers, $3: port of the REST server
write_worker() {
  cat >"$1/connect.properties" <<EOF
bootstrap.servers=$2
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=${SCHEMAS:-false}
value.converter.schemas.enable=${SCHEMAS:-false}
offset.storage.file.filename=$1/offsets
offset.flush.interval.ms=1000
plugin.path=$tools
plugin.discovery=only_scan
producer.max.request.size=33554432
producer.linger.ms=5
listeners=http://127.0.0.1:$3
rest.advertised.host.name=127.0.0.1
EOF
}

# $1: directory, $2: PostgreSQL's port, $3: database; then KEY=VALUE of the user
write_connector() {
  cat >"$1/connector.properties" <<EOF
name=shop
connector.class=io.debezium.connector.postgresql.PostgresConnector
database.hostname=127.0.0.1
database.port=$2
database.user=postgres
database.dbname=$3
topic.prefix=shop
plugin.name=pgoutput
slot.name=lakemill
publication.name=lakemill
publication.autocreate.mode=all_tables
schema.include.list=public
provide.transaction.metadata=true
poll.interval.ms=20
topic.creation.enable=true
topic.creation.default.replication.factor=1
topic.creation.default.partitions=1
EOF
  printf '%s\n' "${@:4}" >>"$1/connector.properties"
}

connector_runs() {
  curl -s "http://$1/connectors/shop/status" | grep -q '"connector":{"state":"RUNNING".*"tasks":\[{[^]]*"state":"RUNNING"'
}

up() {
  local dir brokers database port
  dir=$(absolute "$1")
  if is_running "$dir/connect.pid" "$dir/connect.properties"; then
    cat "$dir/rest"
    return
  fi
  command -v curl >/dev/null || die "curl is missing: run scripts/setup.sh lanes"
  [ -s "$2/brokers" ] || die "no broker in $2: scripts/kafka.sh up $2"
  [ -s "$3/connection" ] || die "no server in $3: scripts/postgres.sh up $3"
  brokers=$(cat "$2/brokers")
  database=$(sed 's/.*dbname=\([^ ]*\).*/\1/' "$3/connection")
  fetch
  port=$(free_port)
  write_worker "$dir" "$brokers" "$port"
  write_connector "$dir" "$(cat "$3/port")" "$database" "${@:4}"
  echo "127.0.0.1:$port" >"$dir/rest"
  nohup java -Xmx1g -cp "$PWD/target/tools/kafka/libs/*" -Dorg.slf4j.simpleLogger.defaultLogLevel=info \
    org.apache.kafka.connect.cli.ConnectStandalone "$dir/connect.properties" "$dir/connector.properties" \
    >"$dir/connect.log" 2>&1 </dev/null &
  echo $! >"$dir/connect.pid"
  wait_for 300 "$dir/connect.pid" "$dir/connect.log" connector_runs "$(cat "$dir/rest")" ||
    { stop "$dir/connect.pid" "$dir/connect.properties"; die "the connector does not run; its log: $dir/connect.log"; }
  cat "$dir/rest"
}

down() {
  local dir
  [ -d "$1" ] || return 0
  dir=$(absolute "$1")
  stop "$dir/connect.pid" "$dir/connect.properties"
}

case "${1:-}" in
  -h | --help) usage ;;
  up) [ $# -ge 4 ] || { usage >&2; exit 2; }; up "${@:2}" ;;
  down) [ $# -eq 2 ] || { usage >&2; exit 2; }; down "$2" ;;
  fetch) fetch ;;
  *) usage >&2; exit 2 ;;
esac
