#!/usr/bin/env bash
# Checks the last commit as RELEASING.md lists it, which takes hours: goes on after failures, and ends with what has failed.
# The arguments choose steps by their names, all without any.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

STEPS='versions advisories sources new-machines packages endurance speed'
verb() { make --no-print-directory "$@"; }

versions() {
    grep -qE '^## [0-9.]+ - [0-9]{4}-[0-9]{2}-[0-9]{2}$' <(grep -m 1 '^## ' CHANGELOG.md) || die "CHANGELOG.md opens with a version that has no date."
    [ -z "$(git status --porcelain)" ] || die "Something is not committed; a release is a commit."
    verb pytest ARGS='-q -k changelog'
}

advisories() {
    verb advisories
    cargo update --dry-run
}

# The build from the files of the release has no network, no crates of this user's, and leaves no path of this machine.
sources() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    verb dist
    tar -xf build/dist/mod_md_rs-*[0-9].tar.xz -C "$work"
    tar -xf build/dist/mod_md_rs-*-vendor.tar.xz -C "$work"/mod_md_rs-*
    cd "$work"/mod_md_rs-*
    CARGO_HOME=$work/cargo unshare --net make build
    CARGO_HOME=$work/cargo make symbols
}

new-machines() {
    verb fresh
    verb fresh SUITE=bookworm
}

packages() {
    verb deb-check
    verb deb-check SUITE=bookworm
    verb rpm
    verb image-layout
}

endurance() {
    verb soak
    verb hostile
    verb memcheck
}

speed() { verb bench-gate; }

if [ "${1:-}" = --step ]; then
    "$2"
    exit
fi
[ "$(id -u)" = 0 ] || die "This needs root, for the servers that the checks start. Run: sudo make release-check"
failed=()
for step in ${*:-$STEPS}; do
    say "== $step"
    "$0" --step "$step" || failed+=("$step")
done
[ ${#failed[@]} = 0 ] || die "Failed: ${failed[*]}"
say "Nothing failed. RELEASING.md lists what is left: the comparison with the release before, and pictures."
