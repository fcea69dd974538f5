#!/usr/bin/env bash
# Provides promtool, which judges metrics and alert rules: build/prometheus/promtool. From the package prometheus (19 MB),
# which is not installed: that would start a server of the system's.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p build/prometheus

has apt-get || die "No apt here: promtool of Debian's package prometheus is needed to check the metrics."
download() { (cd "$work" && apt-get -q -o "APT::Sandbox::User=$(id -un)" download prometheus); }
download || { refresh_apt && download; } || die "apt-get download prometheus failed."
dpkg-deb --fsys-tarfile "$work"/prometheus_*.deb | tar -xO ./usr/bin/promtool >"$work/promtool"
chmod 755 "$work/promtool"
"$work/promtool" --version >/dev/null 2>&1 || die "This promtool does not start."
mv "$work/promtool" build/prometheus/promtool
say "promtool: build/prometheus/promtool"
