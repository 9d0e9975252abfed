#!/usr/bin/env bash
# Builds transforms written in Rust into WebAssembly modules. Works in this repository and outside it: the `lakemill`
# command carries a copy for `lakemill build`.
set -euo pipefail

usage() {
  cat <<'END'
usage: build-guest.sh CRATE... [--out DIR]

Builds each CRATE (a directory with a Cargo.toml, or the name of a package in the workspace of the current directory)
for wasm32-unknown-unknown and leaves DIR/<package>.wasm; prints the path of each. DIR is guests/ in the crate's target
directory unless given. Does nothing to what is up to date.

The compiler: the one on PATH if it has the target, or can get it from rustup; otherwise one that has the sources of the
standard library, with which it is built once; otherwise, for root on Debian, the packages that provide such a one.

exit codes: 0 built or up to date, 1 the crate does not build, 2 wrong use, 3 no compiler for the target
END
}

say() { echo "build-guest: $*" >&2; }
die() { say "${*:2}"; exit "$1"; }

target=wasm32-unknown-unknown
cargo=cargo
rustc=rustc
build_std=()
# Set by whoever runs us for the host's sake (`cargo test`, a shell profile); none of it is meant for the guest.
unset LD_LIBRARY_PATH RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET

# $1: a rustc. Does it have the target's standard library?
has_target() {
  local dir
  dir=$("$1" --print target-libdir --target "$target" 2>/dev/null) && compgen -G "$dir/libstd-*.rlib" >/dev/null
}

# $1: a rustc. Does it have the standard library's sources?
has_sources() {
  local root
  root=$("$1" --print sysroot 2>/dev/null) && [ -f "$root/lib/rustlib/src/rust/library/std/Cargo.toml" ]
}

# Arguments: Debian packages. False if they cannot be had.
apt_install() {
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
  say "installing Debian's $*"
  apt-get install -y -q "$@" >/dev/null 2>&1 ||
    { apt-get update -q >/dev/null 2>&1 && apt-get install -y -q "$@" >/dev/null 2>&1; } ||
    { say "apt-get could not install $*"; return 1; }
}

# The linker that rustc asks for by the name of rust-lld: its own, another toolchain's, or the system's lld.
put_linker_on_path() {
  local dir
  for dir in "$("$rustc" --print sysroot)" "$(rustc --print sysroot 2>/dev/null)" \
    "${RUSTUP_HOME:-$HOME/.rustup}"/toolchains/*; do
    for dir in "$dir"/lib/rustlib/*/bin; do
      if [ -x "$dir/rust-lld" ]; then
        PATH=$dir:$PATH
        return
      fi
    done
  done
  local lld
  for lld in wasm-ld "$(compgen -c wasm-ld- | sort -V | tail -n 1)"; do
    if [ -n "$lld" ] && command -v "$lld" >/dev/null; then
      flags+=("-Clinker=$lld" "-Clinker-flavor=wasm-ld")
      return
    fi
  done
  if [ "${1:-}" != again ] && apt_install lld; then
    put_linker_on_path again
    return
  fi
  die 3 "no linker for WebAssembly; install lld, or a Rust toolchain from rustup"
}

# $1: a directory with a cargo and a rustc that has sources.
use_sources() {
  rustc=$1/rustc
  cargo=$1/cargo
  # -Zbuild-std is the only way to the target without a prebuilt standard library; stable compilers want to be told.
  export RUSTC="$rustc" RUSTC_BOOTSTRAP=1
  build_std=(-Zbuild-std=std,panic_abort)
  put_linker_on_path
}

find_compiler() {
  if has_target rustc; then return; fi
  local dir
  for dir in /usr/bin "$(dirname "$(command -v rustc || echo /usr/bin/rustc)")"; do
    if [ -x "$dir/cargo" ] && has_sources "$dir/rustc"; then
      use_sources "$dir"
      return
    fi
  done
  if command -v rustup >/dev/null; then
    say "adding the target $target by rustup"
    if rustup target add "$target" >/dev/null 2>&1 && has_target rustc; then return; fi
    say "rustup could not add it"
  fi
  if apt_install rustc-web cargo-web rust-web-src && has_sources /usr/bin/rustc; then
    use_sources /usr/bin
    return
  fi
  die 3 "no Rust compiler for $target. Do one of these: \`rustup target add $target\`; \`rustup component add rust-src\`;" \
    "on Debian 12, \`apt-get install rustc-web cargo-web rust-web-src lld\`"
}

# $1: a string's name in the JSON on standard input. A path holds no quotes that would need more than this.
json_string() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

# Arguments: what tells cargo which packages. Runs where cargo finds the manifest.
build() {
  local metadata root target_dir
  metadata=$("$cargo" metadata --no-deps --format-version 1 2>&1) || die 2 "$metadata"
  root=$(json_string workspace_root <<<"$metadata")
  target_dir=$(json_string target_directory <<<"$metadata")

  # No paths of this machine in the module: the same sources give the same bytes, wherever they lie.
  local flag all_flags
  all_flags=("${flags[@]+"${flags[@]}"}" "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
    "--remap-path-prefix=$root=." "--remap-path-prefix=$("$rustc" --print sysroot)=/rust")
  local toml=""
  for flag in "${all_flags[@]}"; do toml+="'$flag',"; done

  # A crate without a profile of its own for guests gets ours on top of its release profile.
  local profile=()
  if ! grep -q '^\[profile\.guest\]' "$root/Cargo.toml"; then
    profile=(--config 'profile.guest.inherits="release"' --config 'profile.guest.lto=true'
      --config 'profile.guest.codegen-units=1' --config 'profile.guest.panic="abort"' --config 'profile.guest.strip="debuginfo"')
  fi

  local folder=wasm
  if [ -n "$quick" ]; then
    # Beside the other one, so that neither is built anew for the other.
    folder=wasm-quick
    profile+=(--config 'profile.guest.lto=false' --config 'profile.guest.codegen-units=16' --config 'profile.guest.incremental=true'
      --config 'profile.guest.opt-level=1')
  fi

  local quiet=()
  [ -t 2 ] || quiet=(--quiet)
  if [ ${#build_std[@]} -gt 0 ] && [ ! -d "$target_dir/$folder/$target/guest" ]; then
    say "the first build compiles the standard library, too: about a minute"
  fi
  local artifacts
  artifacts=$("$cargo" build "${quiet[@]+"${quiet[@]}"}" "$@" --lib --profile guest --target "$target" \
    --target-dir "$target_dir/$folder" "${build_std[@]+"${build_std[@]}"}" "${profile[@]+"${profile[@]}"}" \
    --config "target.$target.rustflags=[$toml]" --message-format json-render-diagnostics) ||
    die 1 "${*:-$PWD} did not build"

  local line made=0
  while read -r line; do
    deliver "$line" "${out:-$target_dir/guests}"
    made=$((made + 1))
  done < <(grep '"reason":"compiler-artifact"' <<<"$artifacts" | grep '\.wasm"' || true)
  [ "$made" -gt 0 ] ||
    die 2 "${*:-$PWD} makes no module: its Cargo.toml needs \`[lib]\` with \`crate-type = [\"cdylib\", \"rlib\"]\`"
}

# $1: cargo's message about an artifact, $2: where to put it.
deliver() {
  local module package name
  module=$(grep -o '"[^"]*\.wasm"' <<<"$1" | head -n 1 | tr -d '"')
  # `path+file:///a/dir#name@version`, or `path+file:///a/name#version`.
  package=$(json_string package_id <<<"$1")
  name=${package##*#}
  if [ "$name" != "${name%@*}" ]; then name=${name%@*}; else name=$(basename "${package%#*}"); fi
  local file="$2/$name.wasm"
  mkdir -p "$2"
  if ! cmp -s "$module" "$file"; then
    # Whole or not at all: others may be reading the old one.
    cp "$module" "$file.$$" && mv "$file.$$" "$file"
    say "$name: $(($(wc -c <"$file") / 1024)) KiB"
  fi
  echo "$file"
}

out=""
quick=""
flags=()
names=()
dirs=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --out) [ $# -ge 2 ] || { usage >&2; exit 2; }; out=$2; shift ;;
    --out=*) out=${1#--out=} ;;
    --quick) quick=1 ;;
    -*) usage >&2; exit 2 ;;
    *) if [ -f "$1/Cargo.toml" ]; then dirs+=("$1"); else names+=(-p "$1"); fi ;;
  esac
  shift
done
[ $((${#names[@]} + ${#dirs[@]})) -gt 0 ] || { usage >&2; exit 2; }
if [ -n "$out" ]; then
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
fi

find_compiler
if [ ${#names[@]} -gt 0 ]; then build "${names[@]}"; fi
for dir in "${dirs[@]+"${dirs[@]}"}"; do
  # A subshell's exit is ours, by set -e.
  (cd "$dir" && build)
done
