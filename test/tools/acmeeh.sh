#!/usr/bin/env bash
# Provides build/acmeeh: a Python with the ACME server acmeeh, and below it the PostgreSQL that acmeeh needs, unpacked from
# Debian's package: installed, it would start a server of the system's. ACMEEH_PYTHON names a Python of 3.12 or newer, where
# python3 is older. What cannot be had is said, and its tests are skipped.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

skip() { say "no acmeeh: $1; its tests are skipped"; exit 0; }

newest_python() {
    local python
    for python in ${ACMEEH_PYTHON:-} python3 python3.14 python3.13 python3.12; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && { echo "$python"; return; }
    done
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

python=$(newest_python) || true
[ -n "$python" ] || skip "it needs Python 3.12 or newer, and python3 is $(python3 --version | cut -d ' ' -f 2)"
has apt-get || skip "no apt here, for its PostgreSQL"

version() { apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1; }
[ -n "$(version)" ] || refresh_apt || true
postgres=$(version)
[ -n "$postgres" ] || skip "apt knows no postgresql"
# Libraries that a machine without a PostgreSQL lacks; that of its compiler of queries is not used.
libraries=$(apt-cache depends "postgresql-$postgres" "postgresql-client-$postgres" | sed -n 's/^ *Depends: \(lib[^ <]*\)$/\1/p' |
    grep -v '^libllvm' | sort -u | while read -r name; do dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -q '^installed' || echo "$name"; done)
download "$work" "postgresql-$postgres" $libraries || skip "apt-get download postgresql-$postgres failed"

rm -rf build/acmeeh
mkdir -p build/acmeeh/debian
for package in "$work"/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x --no-same-owner -C build/acmeeh/debian ./usr
done
ln -s "debian/usr/lib/postgresql/$postgres" build/acmeeh/postgresql
"$python" -m venv build/acmeeh/venv
build/acmeeh/venv/bin/python -m pip --disable-pip-version-check install -q -r test/interop/acmeeh.txt || skip "pip cannot install it"
touch build/acmeeh/installed
say "acmeeh with PostgreSQL $postgres and $("$python" --version): build/acmeeh"
