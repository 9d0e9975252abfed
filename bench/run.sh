#!/usr/bin/env bash
# Measures what bench/RESULTS.md says, on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  -h | --help)
    echo "usage: bench/run.sh"
    echo "Starts a Kafka broker on the loopback, measures what bench/RESULTS.md quotes, stops the broker."
    exit 0
    ;;
esac

# With the workspace's own features: nothing is built twice.
"${CARGO:-cargo}" build --release --workspace --examples
here=$PWD/target/bench
mkdir -p "$here"
trap 'scripts/kafka.sh down "$here/kafka"; rm -rf "$here/kafka"' EXIT
brokers=$(scripts/kafka.sh up "$here/kafka")
bench=(target/release/lakemill-bench --brokers "$brokers")

echo "== 1M events of 4 partitions through clean into Delta, component and native twin by turns"
"${bench[@]}" throughput --events 1000000 --rounds 5
echo "== 10M events: memory must stay flat"
"${bench[@]}" throughput --events 10000000 --rounds 1 --no-native
echo "== 5,000 events/s for a minute: Kafka timestamp to commit"
"${bench[@]}" latency --rate 5000 --seconds 60
echo "== new code under 2,000 events/s: what two commits are apart where it takes over"
"${bench[@]}" swap
echo "== the call alone"
target/release/examples/call_cost
echo "== decoding alone"
target/release/examples/throughput
echo "== the cost of commit number 5,000"
target/release/examples/commits
