#!/usr/bin/env bash
# rustc, with what libFuzzer needs in the libraries and programs of the workspace.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: RUSTC_WORKSPACE_WRAPPER=fuzz/instrument.sh cargo build ...

Cargo calls it in place of rustc for the crates of the workspace only: dependencies are neither instrumented nor built again.
Counters at edges and compared values tell libFuzzer where an input went; overflows and `debug_assert` panic. See scripts/fuzz.sh.
EOF
}

case "${1:-}" in
  "" | -h | --help) usage; exit 0 ;;
esac

# Questions about the compiler, and what runs while others are built, stay as they are.
case " $* " in
  *" --crate-name ___ "* | *" --crate-name build_script_"* | *" --crate-type proc-macro "*) exec "$@" ;;
  *" --crate-name "*) ;;
  *) exec "$@" ;;
esac
# One unit: the pass runs once over each crate.
exec "$@" --cfg fuzzing -Ccodegen-units=1 -Coverflow-checks=on -Cdebug-assertions=on \
  -Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares
