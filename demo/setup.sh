# shellcheck shell=bash
# What the demos need on a plain Debian machine. Sourced, not run.

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# need COMMAND PACKAGE...: from Debian, if the command is not there.
need() {
  command -v "$1" >/dev/null && return
  shift
  from_debian "$@"
}

from_debian() {
  { command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; } || fail "missing: $* (on Debian: sudo apt-get install $*)"
  say "installing $* from Debian"
  local log
  log=$(mktemp)
  { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@"; } >"$log" 2>&1 ||
    { cat "$log" >&2; fail "apt-get could not install $*"; }
  rm -f "$log"
}

need_python() { need python3 python3; }

need_rust() {
  PATH=$PATH:$HOME/.cargo/bin
  command -v cargo >/dev/null || fail "Rust is missing; install it as https://rustup.rs says, then run this again"
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  found=$(cargo --version | cut -d' ' -f2)
  [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
    fail "Rust $wanted or newer is needed, found $found; rustup update brings it"
  need cc gcc libc6-dev # the linker
  need make make # of a dependency in C, the allocator
}

target_dir() { echo "${CARGO_TARGET_DIR:-target}"; }

# build PROGRAM...: silent when there is nothing to do.
build() {
  local program programs=()
  for program in "$@"; do
    programs+=(--bin "$program")
    [ -e "$(target_dir)/debug/$program" ] || say "building $program; the first time takes some minutes"
  done
  # Of the workspace, not of one package: then all programs share their dependencies' builds.
  cargo build --quiet --locked --workspace "${programs[@]}"
}
