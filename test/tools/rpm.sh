#!/usr/bin/env bash
# Builds the package of packaging/mod_md_rs.spec from the sources of `make dist`, as far as Debian's rpm can: nobody asks for the
# packages that it depends on, and the module is for this machine's httpd. Checks spec and package by rpmlint.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

for tool in rpmbuild rpmlint; do has $tool || die "$tool is missing. Run: sudo apt-get install rpm rpmlint"; done
work=$PWD/build/rpm
rm -rf "$work"
mkdir -p "$work"
# Debian's rpm calls folders as Debian does.
rpmbuild -bb --nodeps --define "_topdir $work" --define "_sourcedir $PWD/build/dist" --define "_libdir /usr/lib64" \
    --define "_httpd_apxs $(command -v "${APXS:-apxs}")" --define "debug_package %{nil}" packaging/mod_md_rs.spec
package=$(find "$work/RPMS" -name '*.rpm')
rpm -qlp "$package"
rpmlint --config packaging/rpmlint.toml packaging/mod_md_rs.spec "$package"
