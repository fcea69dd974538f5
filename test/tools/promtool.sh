#!/usr/bin/env bash
# Provides promtool, which judges metrics and alert rules: build/prometheus/promtool. From the package promtool, or on Debian 12
# from prometheus (19 MB), which is not installed: that would start a server of the system's.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p build/prometheus

has apt-get || die "No apt here: promtool of Debian is needed to check the metrics."
package() { apt-cache show promtool >/dev/null 2>&1 && echo promtool || echo prometheus; }
download() { (cd "$work" && apt-get -q -o "APT::Sandbox::User=$(id -un)" download "$(package)"); }
download || { refresh_apt && download; } || die "apt-get download $(package) failed."
dpkg-deb --fsys-tarfile "$work"/prom*_*.deb | tar -xO ./usr/bin/promtool >"$work/promtool"
chmod 755 "$work/promtool"
"$work/promtool" --version >/dev/null 2>&1 || die "This promtool does not start."
mv "$work/promtool" build/prometheus/promtool
say "promtool: build/prometheus/promtool"
