#!/usr/bin/env bash
# Provides two Caddys, whose acme_server is the ACME of step-ca: build/caddy/release from this machine's Debian and
# build/caddy/unstable from Debian's unstable. None is installed, as that would start a server of the system's.
# A Caddy that cannot be had is said, and its tests are skipped.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p build/caddy

unpack() {
    dpkg-deb --fsys-tarfile "$work/$1"/caddy_*.deb | tar -xO ./usr/bin/caddy >"$work/$1/caddy" && chmod 755 "$work/$1/caddy" &&
        "$work/$1/caddy" version >/dev/null 2>&1 && mv "$work/$1/caddy" "build/caddy/$1" &&
        say "Caddy $(build/caddy/"$1" version): build/caddy/$1"
}

from_release() {
    mkdir "$work/release"
    download "$work/release" caddy && unpack release
}

from_unstable() {
    mkdir "$work/unstable"
    unstable_apt "$work/apt" update && (cd "$work/unstable" && unstable_apt "$work/apt" download caddy) && unpack unstable
}

complete=yes
for suite in release unstable; do
    [ -x "build/caddy/$suite" ] || "from_$suite" || { say "no Caddy of Debian's $suite can be had: its tests are skipped"; complete=no; }
done
[ $complete = no ] || touch build/caddy/installed
