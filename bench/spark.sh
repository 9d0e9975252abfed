#!/usr/bin/env bash
# Measures Spark Structured Streaming beside lakemill: the same broker, the same events, the same rows, by turns.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'EOF'
usage: bench/spark.sh [EVENTS [ROUNDS [SECONDS]]]

Fetches PySpark 4.2, Delta 4.4 and the Kafka source (pip, Maven; half a gigabyte, once), starts a Kafka broker on the loopback, and
measures EVENTS (1000000) through the job of `clean` in ROUNDS (2) by turns, with a comparison of the two tables; then 5,000 events/s
for SECONDS (60), Kafka timestamp to commit. Prints JSON lines and a summary. SECONDS 0 leaves the second part out.
EOF
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac
events=${1:-1000000} rounds=${2:-2} seconds=${3:-60}
here=$PWD/target/bench
tools=$here/spark
mkdir -p "$tools/jars"

# copy ARTIFACT: one jar, without what it depends on; fails if Maven does not have it.
copy() {
  local name=${1#*:}
  ls "$tools/jars/${name/:/-}.jar" >/dev/null 2>&1 && return
  mvn -q -B dependency:copy -Dartifact="$1" -DoutputDirectory="$tools/jars" >"$tools/mvn.log" 2>&1
}

fetch() {
  if [ ! -x "$tools/venv/bin/python" ] || ! "$tools/venv/bin/python" -c 'import pyspark' 2>/dev/null; then
    echo "installing PySpark" >&2
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install -q --disable-pip-version-check pyspark==4.2.0
  fi
  local artifact
  for artifact in org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0 org.apache.kafka:kafka-clients:3.9.1 \
    org.apache.commons:commons-pool2:2.12.1 org.scala-lang.modules:scala-parallel-collections_2.13:1.2.0 \
    io.delta:delta-spark_4.2_2.13:4.4.0 io.delta:delta-storage:4.4.0 org.antlr:antlr4-runtime:4.13.1; do
    copy "$artifact" || { cat "$tools/mvn.log" >&2; exit 1; }
  done
  # The Kafka source links against it, also without Kerberos; an older one serves where a mirror lacks the newest.
  copy org.apache.spark:spark-token-provider-kafka-0-10_2.13:4.2.0 ||
    copy org.apache.spark:spark-token-provider-kafka-0-10_2.13:4.0.0 || { cat "$tools/mvn.log" >&2; exit 1; }
}

spark() {
  "$tools/venv/bin/python" bench/spark.py "$1" "$brokers" "$2" "$3" "$tools/jars" "${@:4}"
}

fetch
scripts/readers.sh
read_table=(target/tools/venv/bin/python bench/table.py)
trap 'scripts/kafka.sh down "$here/kafka"; rm -rf "$here/kafka" "$here/out"' EXIT
rm -rf "$here/out"
brokers=$(scripts/kafka.sh up "$here/kafka")
bench=(target/release/lakemill-bench --brokers "$brokers")
results=$here/spark.jsonl
: >"$results"

echo "== $events events through the job of clean, by turns"
topic=$("${bench[@]}" produce --events "$events")
for round in $(seq "$rounds"); do
  out=$here/out/$round
  "${bench[@]}" throughput --topic "$topic" --rounds 1 --no-native --out "$out/lakemill" | grep '"kind"' | tee -a "$results"
  spark append "$topic" "$out/spark" 2>"$tools/spark.log" | tee -a "$results" || { tail -30 "$tools/spark.log" >&2; exit 1; }
  ours=$("${read_table[@]}" sums "$out/lakemill/lake/orders")
  theirs=$("${read_table[@]}" sums "$out/spark/orders")
  echo "lakemill wrote $ours, Spark $theirs"
  [ "$ours" = "$theirs" ] || { echo "the tables differ" >&2; exit 1; }
  rm -rf "$out"
done

if [ "$seconds" -gt 0 ]; then
  echo "== 5,000 events/s for $seconds s: Kafka timestamp to commit, without the first 10 s"
  "${bench[@]}" latency --rate 5000 --seconds "$seconds" --out "$here/out/lakemill" >/dev/null
  topic=$("${bench[@]}" produce --events 0)
  spark latency "$topic" "$here/out/spark" $((seconds + 30)) >"$tools/latency.json" 2>"$tools/spark.log" &
  until grep -q '^started' "$tools/spark.log"; do kill -0 $! || { tail -30 "$tools/spark.log" >&2; exit 1; }; sleep 0.2; done
  "${bench[@]}" load --topic "$topic" --rate 5000 --seconds "$seconds"
  wait $!
  for kind in lakemill/lake spark; do
    echo "${kind%/*} $("${read_table[@]}" latency "$here/out/$kind/orders")"
  done
fi

python3 - "$results" <<'EOF'
import json, statistics, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
ours = [line["summary"] for line in lines if line["kind"] == "wasm"]
theirs = [line for line in lines if line["kind"] == "spark"]
rate = lambda list: statistics.median(line["events_per_s"] for line in list)
print(f"lakemill {rate(ours):.0f} events/s with {max(s['rss_bytes_max'] for s in ours) >> 20} MiB, "
      f"Spark {rate(theirs):.0f} with {max(s['memory_mib'] for s in theirs)} MiB: {rate(ours) / rate(theirs):.1f} times as fast")
EOF
