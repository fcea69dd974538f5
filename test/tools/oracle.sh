#!/usr/bin/env bash
# Provides the C module to compare with: build/oracle/mod_md.so, from the distribution's package and not from the
# installed server, so that an installation of ours cannot take its place.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p build/oracle

has apt-get || die "No apt here: Debian's C module is needed to compare with."
download "$work" apache2-bin || die "apt-get download apache2-bin failed."
dpkg-deb --fsys-tarfile "$work"/apache2-bin_*.deb | tar -xO ./usr/lib/apache2/modules/mod_md.so >"$work/mod_md.so"
version=$(grep -aoE '\b2\.[0-9]+\.[0-9]+\b' "$work/mod_md.so" | head -n 1)
[ -n "$version" ] || die "No version found in Debian's mod_md.so."
mv "$work/mod_md.so" build/oracle/mod_md.so
echo "$version" >build/oracle/version
say "C module to compare with: mod_md $version"
