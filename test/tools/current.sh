#!/usr/bin/env bash
# Format and lints are judged by the current toolchain: an older one formats and warns differently.
# Succeeds with one line when the toolchain is older than that, or has no rustfmt and clippy.
. "$(dirname "$0")/lib.sh"
CURRENT=1.95
# Without any, cargo says so.
has rustc || exit 1
version=$(rustc --version | cut -d ' ' -f 2)
[ "$(printf '%s\n' "$version" "$CURRENT" | sort -V | head -n 1)" = "$CURRENT" ] && exit 1
say "skipped: Rust $version is older than $CURRENT"
