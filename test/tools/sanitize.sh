#!/usr/bin/env bash
# sanitize.sh: builds build/mod_md_asan.so, the module with AddressSanitizer in Rust and in the shim, and runs a selection of the
# tests with it; MPMS are the MPMs, TESTS a pattern of pytest's -k. httpd has no sanitizer: the library of gcc is loaded before it.
#
# The sanitizer is not in stable Rust, but in its compiler, which RUSTC_BOOTSTRAP lets use it.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

target=x86_64-unknown-linux-gnu
archive=target/sanitize/$target/debug/libmod_md.a
library=$(gcc -print-file-name=libasan.so)
[ -e "$library" ] || die "gcc has no libasan.so: apt-get install libgcc-12-dev"
RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Cdebuginfo=line-tables-only" CFLAGS="-fsanitize=address -fno-omit-frame-pointer" \
    cargo rustc --quiet --locked --lib --crate-type staticlib --features httpd --target "$target" --target-dir target/sanitize \
    -- --print native-static-libs="$PWD/$archive.libs"
# The runtime of rustc is left out, as there may be one only.
gcc -shared -fsanitize=address -o build/mod_md_asan.so "$archive" $(sed 's/-l[^ ]*rt.asan//' "$archive.libs") \
    -Wl,--gc-sections -Wl,--as-needed -Wl,-u,md_module -Wl,--version-script=c-shim/md_module.map

for mpm in ${MPMS:-event prefork}; do
    say "AddressSanitizer, $mpm"
    MD_UNDER_TEST=sanitized MD_MPM=$mpm build/venv/bin/python -m pytest -q -n "${JOBS:-2}" test \
        -k "${TESTS:-test_first_certificate or test_ocsp or test_http_01 or test_tls_alpn_01 or test_live or test_graceful or test_md_status}"
done
