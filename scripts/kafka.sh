#!/usr/bin/env bash
# A real Apache Kafka broker on this machine, for tests and examples.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/service.sh
. scripts/service.sh

usage() {
  cat <<'EOF'
usage: scripts/kafka.sh up DIR [PORT]
       scripts/kafka.sh count DIR TOPIC
       scripts/kafka.sh down DIR
       scripts/kafka.sh fetch

up     starts one Apache Kafka 4.1 broker (KRaft, a single node) with its data in DIR, waits until it answers, and
       prints its address, which is also in DIR/brokers. On 127.0.0.1 only; PORT is a free one unless given. Does
       nothing but print if it runs already. Topics are not made on first use; records may have up to 32 MiB;
       transactions and compaction work, and the log cleaner looks for work every 200 ms.
count  prints how many records the topic has had, over all partitions; fails if there is no such topic.
down   stops the broker of DIR, and no other. The data stays: remove DIR to be rid of it.
fetch  only gets the jars (Maven) into target/tools/kafka; `up` does it when needed.
EOF
}

version=4.1.0
tools=$PWD/target/tools/kafka

fetch() {
  maven_jars "$tools" "org.apache.kafka:kafka_2.13:$version" "org.apache.kafka:kafka-tools:$version" \
    "org.apache.kafka:connect-runtime:$version" "org.apache.kafka:connect-json:$version" org.slf4j:slf4j-simple:1.7.36
}

# $1: directory, $2: port, $3: controller's port
write_properties() {
  cat >"$1/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=PLAINTEXT://127.0.0.1:$2
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$1/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes=33554432
replica.fetch.max.bytes=33554432
log.cleaner.backoff.ms=200
log.retention.ms=-1
EOF
}

up() {
  local dir port controller
  dir=$(absolute "$1")
  if is_running "$dir/broker.pid" "$dir/server.properties"; then
    cat "$dir/brokers"
    return
  fi
  fetch
  port=${2:-$(free_port)}
  port_is_free "$port" || die "port $port is taken"
  controller=$(free_port)
  [ "$controller" != "$port" ] || controller=$(free_port)
  write_properties "$dir" "$port" "$controller"
  local class_path="$tools/libs/*"
  if [ ! -f "$dir/data/meta.properties" ]; then
    java -Xmx128m -cp "$class_path" kafka.tools.StorageTool format -t "$(java -Xmx128m -cp "$class_path" \
      kafka.tools.StorageTool random-uuid 2>/dev/null)" -c "$dir/server.properties" >"$dir/format.log" 2>&1 ||
      { cat "$dir/format.log" >&2; die "formatting $dir/data failed"; }
  fi
  nohup java -Xms256m -Xmx1g -cp "$class_path" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    kafka.Kafka "$dir/server.properties" >"$dir/broker.log" 2>&1 </dev/null 9>&- &
  echo $! >"$dir/broker.pid"
  wait_for 300 "$dir/broker.pid" "$dir/broker.log" eval "! port_is_free $port" ||
    { stop "$dir/broker.pid" "$dir/server.properties"; die "the broker did not come up; its log: $dir/broker.log"; }
  echo "127.0.0.1:$port" | tee "$dir/brokers"
}

count() {
  local ends
  ends=$(java -Xmx128m -cp "$tools/libs/*" org.apache.kafka.tools.GetOffsetShell --bootstrap-server "$(cat "$1/brokers")" \
    --topic "$2" 2>/dev/null | grep "^$2:") || return 1
  awk -F: '{ n += $3 } END { print n + 0 }' <<<"$ends"
}

down() {
  local dir
  [ -d "$1" ] || return 0
  dir=$(absolute "$1")
  stop "$dir/broker.pid" "$dir/server.properties"
}

case "${1:-}" in
  -h | --help) usage ;;
  up) [ $# -ge 2 ] || { usage >&2; exit 2; }; up "${@:2}" ;;
  count) [ $# -eq 3 ] || { usage >&2; exit 2; }; count "$2" "$3" ;;
  down) [ $# -eq 2 ] || { usage >&2; exit 2; }; down "$2" ;;
  fetch) fetch ;;
  *) usage >&2; exit 2 ;;
esac
