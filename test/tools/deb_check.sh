#!/usr/bin/env bash
# Builds Debian's packages of the last commit in a new Debian, with its own Rust, and tries them in another one, to which nothing but
# the packages and what they depend on is added: debian/tests has the scenarios. SUITE=trixie or bookworm. What was built is left in
# build/deb-check. KEEP=1 uses the former Debian for the build again.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

export SUITE=${SUITE:-trixie}
hand=$PWD/build/deb-check/$SUITE

rm -rf "$hand"
mkdir -p "$hand"
test/tools/dist.sh
cp build/dist/*.tar.xz "$hand"

# The gate runs the unit tests on this Debian.
NAME=$SUITE-build HAND=$hand OWN_RUST=1 test/tools/fresh.sh 'set -e
    apt-get -q update
    apt-get -qy install --no-install-recommends lintian
    apt-get -qy build-dep --no-install-recommends ./
    DIST=/srv/hand DEB_BUILD_OPTIONS=nocheck test/tools/deb.sh
    cp build/deb/mod-md-rs_* build/deb/*deb /srv/hand/
    lintian --allow-root --fail-on=error,warning --tag-display-limit 0 build/deb/*.changes
'
NAME=$SUITE-clean KEEP= HAND=$hand OWN_RUST=1 test/tools/fresh.sh test/tools/deb_try.sh /srv/hand
