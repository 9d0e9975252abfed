#!/usr/bin/env bash
# Lets libFuzzer look for inputs that make a reader of foreign bytes panic.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'EOF'
usage: scripts/fuzz.sh [--seconds N | --runs N] [--jobs N] [TARGET]...

Builds the targets (fuzz/src; all of them if none is named) with coverage counters, and runs each for N seconds (default 60) or
N inputs, one after the other or as many at a time as `--jobs` says. Targets: answer decode lines plan scan spec. The corpus grows in target/fuzz-corpus/TARGET, from the seeds that the
target makes itself; what fails lies in target/fuzz-crashes/TARGET. Prints a line per target; fails if one of them found something.
EOF
}

limit=-max_total_time=60
at_once=1
targets=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --seconds | --runs | --jobs)
      [[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || { usage >&2; exit 2; }
      case "$1" in
        --seconds) limit=-max_total_time=$2 ;;
        --runs) limit=-runs=$2 ;;
        --jobs) at_once=$2 ;;
      esac
      shift
      ;;
    answer | decode | lines | plan | scan | spec) targets+=("$1") ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
[ ${#targets[@]} -gt 0 ] || targets=(answer decode lines plan scan spec)

read -ra cargo <<<"${CARGO:-cargo}"
RUSTC_WORKSPACE_WRAPPER=$PWD/fuzz/instrument.sh \
  "${cargo[@]}" build --release --workspace --features lakemill-fuzz/libfuzzer "${targets[@]/#/--bin=fuzz-}"

# run TARGET: true if it found nothing.
run() {
  local corpus=target/fuzz-corpus/$1 crashes=target/fuzz-crashes/$1 found=0
  mkdir -p "$corpus" "$crashes"
  LAKEMILL_FUZZ_SEEDS=$corpus "target/release/fuzz-$1" "$corpus" "$limit" -artifact_prefix="$crashes/" \
    -timeout=30 -rss_limit_mb=4096 -max_len=16384 -print_final_stats=1 >"$crashes.log" 2>&1 || found=1
  # The last line that has coverage, and the one with the sum.
  awk -v target="$1" '
    /^#[0-9]+.* cov: / { for (n = 1; n < NF; n++) if ($n == "cov:") edges = $(n + 1); runs = substr($1, 2) }
    /^Done / { runs = $2; seconds = $5 }
    END { printf "%-8s %9d runs %6s s %7d edges\n", target, runs, seconds == "" ? "-" : seconds, edges }
  ' "$crashes.log"
  if [ "$found" = 1 ]; then
    grep -E -A3 "panicked at|^==[0-9]+== ?ERROR" "$crashes.log" | head -12 >&2 || true
    grep -E "Test unit written to" "$crashes.log" >&2 || tail -3 "$crashes.log" >&2
    echo "again: target/release/fuzz-$1 FILE" >&2
  fi
  return "$found"
}

failed=0 running=0
for target in "${targets[@]}"; do
  if [ "$running" = "$at_once" ]; then
    wait -n || failed=1
    running=$((running - 1))
  fi
  run "$target" &
  running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
  wait -n || failed=1
  running=$((running - 1))
done
exit "$failed"
