#!/usr/bin/env bash
# deb_try.sh FOLDER: installs Debian's packages of that folder on this system, which they change, and runs debian/tests on it as
# autopkgtest does: for a Debian that is thrown away. Each test has a network of its own.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

export DEBIAN_FRONTEND=noninteractive
packages=("$1"/libapache2-mod-md-rs_*.deb "$1"/a2md_*.deb)

# Whether packages may start a server: never in the network of this machine. Without an answer, and without init, they never do.
packages_start() { printf '#!/bin/sh\nexit %s\n' "$1" >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d; }
install() { packages_start 101 && apt-get -qy install "$@"; }
alone() { packages_start 0 && unshare --net -- bash -c 'ip link set lo up && exec "$@"' alone "$@"; }

# The server that runs gets the new module without an action of the administrator's.
upgrade() {
    say "== upgrade"
    alone dpkg -i "${packages[@]}"
    pidof apache2 >/dev/null || die "The server does not run after an upgrade."
    local end=$((SECONDS + 60))
    while grep -sq 'mod_md_rs.so (deleted)' /proc/[0-9]*/maps; do
        [ $SECONDS -lt $end ] || die "A process still has the module that was replaced."
        sleep 0.1
    done
}

# Lines of tests and what they depend on beside the packages.
paragraphs() {
    awk -v RS= -F '\n' '{ for (i = 1; i <= NF; i++) { split($i, field, ": "); value[field[1]] = field[2] }
        sub("@,", "", value["Depends"]); print value["Tests"] "|" value["Depends"] }' debian/tests/control | tr -d ,
}

refresh_apt
install --no-install-recommends iproute2 apache2
begin=$(date +%s.%N)
install "${packages[@]}"
say "The packages are installed, with what they need beside the server, in $(awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $begin }") s."
while IFS='|' read -r tests needs; do
    install --no-install-recommends $needs </dev/null
    for test in $tests; do
        say "== $test"
        code=0
        alone "debian/tests/$test" </dev/null || code=$?
        # As autopkgtest takes it, by the restriction `skippable`.
        [ $code != 77 ] || say "skipped"
        [ $code = 0 ] || [ $code = 77 ] || die "$test has failed."
        [ "$test" != new-installation ] || upgrade
    done
done < <(paragraphs)
service apache2 stop
