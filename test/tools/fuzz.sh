#!/usr/bin/env bash
# fuzz.sh [TARGET]: runs a target of fuzz/ with the inputs in fuzz/corpus and those that libFuzzer makes up; RUNS is their number.
# Without a target lists them. What fails is left in build/fuzz/TARGET. MERGE=1 puts the smallest inputs that reach the same code
# as all found so far into fuzz/corpus.
#
# The flags are those of cargo-fuzz. SANITIZE=1 adds AddressSanitizer, five times slower: it sees what OpenSSL does with memory. That
# is not in stable Rust, but in its compiler, which RUSTC_BOOTSTRAP lets use it.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

export RUSTC_BOOTSTRAP=1 FUZZ_TARGET=${1:-}
export RUSTFLAGS="${SANITIZE:+-Zsanitizer=address} -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
 -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
target=x86_64-unknown-linux-gnu
cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target-dir "target/fuzz${SANITIZE:+-sanitize}" --target "$target"
program=$PWD/target/fuzz${SANITIZE:+-sanitize}/$target/release/mod_md-fuzz

[ -n "$FUZZ_TARGET" ] || { say "make fuzz TARGET=name RUNS=number, where name is one of: $(cd fuzz/corpus && echo *)"; exit; }
kept=fuzz/corpus/$FUZZ_TARGET
found=build/fuzz/$FUZZ_TARGET
mkdir -p "$kept" "$found/corpus"
if [ -n "${MERGE:-}" ]; then
    mkdir "$found/merged"
    "$program" -set_cover_merge=1 -use_counters=0 -max_len=1024 "$found/merged" "$kept" "$found/corpus"
    rm -r "$kept" && mv "$found/merged" "$kept"
else
    "$program" -runs="${RUNS:-100000}" -max_len="${MAX_LEN:-1024}" -timeout=5 -rss_limit_mb=1024 -artifact_prefix="$found/" -print_final_stats=1 \
        "$found/corpus" "$kept"
fi
