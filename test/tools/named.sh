#!/usr/bin/env bash
# Provides BIND, which takes updates of the DNS: build/bind/named. From the package bind9, which is not installed: that would
# start a server of the system's. Its libraries come with nsupdate.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p build/bind

has apt-get || die "No apt here: named of Debian's package bind9 is needed to test updates of the DNS."
# The libraries fit their own version only.
version=$(dpkg-query -W -f '${Version}' bind9-libs)
download "$work" "bind9=$version" || die "apt-get download bind9=$version failed."
dpkg-deb --fsys-tarfile "$work"/bind9_*.deb | tar -xO ./usr/sbin/named >"$work/named"
chmod 755 "$work/named"
"$work/named" -v >/dev/null 2>&1 || die "This named does not start."
mv "$work/named" build/bind/named
say "BIND: build/bind/named"
