#!/usr/bin/env bash
# Provides what an administrator of a Debian has, below build/debian: /etc/apache2, the programs that it names, a2enmod and
# apachectl. From the package apache2, which is not installed: that would set up and start a server of the system's.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

has apt-get || die "No apt here: Debian's configuration of httpd is needed to replay the documents."
download "$work" apache2 || die "apt-get download apache2 failed."
dpkg-deb --fsys-tarfile "$work"/apache2_*.deb | tar -x --no-same-owner -C "$work" ./etc/apache2 ./usr/sbin ./usr/share/apache2
rm -rf build/debian
mkdir -p build/debian
mv "$work/etc" "$work/usr" build/debian/
say "Debian's configuration of httpd: build/debian"
