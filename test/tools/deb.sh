#!/usr/bin/env bash
# Builds Debian's packages of the last commit in build/deb, for the release of this system, whose number becomes a part of the version.
# DIST names a folder with the two files of `make dist`, where there is no checkout to make them; the arguments go to dpkg-buildpackage.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

has dpkg-buildpackage || die "dpkg-buildpackage is missing. Run: sudo apt-get install dpkg-dev && sudo apt-get build-dep ./"
[ -n "${DIST:-}" ] || { test/tools/dist.sh && DIST=build/dist; }
. /etc/os-release
case $ID in
    debian) suffix=~deb${VERSION_ID:-13}u1 ;;
    *) suffix=~$ID${VERSION_ID:-} ;;
esac

rm -rf build/deb
mkdir -p build/deb
sources=$(compgen -G "$DIST/mod_md_rs-*[0-9].tar.xz")
name=${sources##*/} name=${name%.tar.xz} version=${sources##*-} version=${version%.tar.xz}
cp "$sources" "build/deb/mod-md-rs_$version.orig.tar.xz"
cp "$DIST/$name-vendor.tar.xz" "build/deb/mod-md-rs_$version.orig-vendor.tar.xz"
tar -xf "$sources" -C build/deb
cd "build/deb/$name"
tar -xf "../mod-md-rs_$version.orig-vendor.tar.xz"
sed -i "1s/)/$suffix)/" debian/changelog
dpkg-buildpackage --no-sign "$@"
cd ..
for package in *.deb; do
    say "build/deb/$package"
done
