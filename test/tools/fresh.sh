#!/usr/bin/env bash
# Runs a command (default: build and install, the demo, the gate) on the last commit in a Debian of its own, below build/fresh: SUITE=trixie, with
# that distribution's Rust, or SUITE=bookworm, whose Rust is too old, with this machine's. The Debian is made by debootstrap, has
# nothing but what the scripts themselves install, and is new each time unless KEEP=1; so is the checkout in it. NAME gives it
# another folder, HAND shares one with it, and OWN_RUST=1 lends it no toolchain.
#
# It all happens in a mount and process namespace: what is mounted or started there ends with this script, however it ends.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

SUITE=${SUITE:-trixie}
root=$PWD/build/fresh/${NAME:-$SUITE}
checkout=/srv/mod_md
# A folder here that commands see as /srv/hand, to get files in and out.
HAND=${HAND:-}

if [ "${1:-}" != --inside ]; then
    [ "$(id -u)" = 0 ] || die "This needs root, for chroot. Run: sudo make fresh"
    has debootstrap || die "debootstrap is missing. Run: sudo apt-get install debootstrap"
    has git || die "git is missing. Run: sudo apt-get install git"
    exec unshare --mount --propagation private --pid --fork --kill-child -- "$0" --inside "$@"
fi
shift

make_debian() {
    local part=$root.part mirror keyring security
    mirror=$(debian_mirror) keyring=$(debian_keyring)
    rm -rf --one-file-system "$part"
    mkdir -p "$part"
    debootstrap --variant=minbase --keyring="$keyring" "$SUITE" "$part" "$mirror" || die "debootstrap failed, see $part/debootstrap"
    # As an installation has it: its packages are those of the last release, and newer ones can be had.
    security=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian-Security' | head -n 1)
    [ -z "$security" ] || echo "deb $security $SUITE-security main" >>"$part/etc/apt/sources.list"
    mv "$part" "$root"
}

# How this machine reaches registries and mirrors: its CA bundle, names, apt's transport and the settings of cargo and pip.
pass_on_network() {
    local bundle=/etc/ssl/certs/ca-certificates.crt extra=$root/usr/local/share/ca-certificates file
    mkdir -p "$root/etc/ssl/certs" "$root/root/.cargo" "$extra"
    if [ -r $bundle ]; then
        cp $bundle "$root$bundle"
        # The package ca-certificates makes the bundle anew, from single files.
        awk -v to="$extra/host-" '/BEGIN CERT/ { n++ } n { print > (to n ".crt") }' $bundle
    fi
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    apt-config dump | grep -E '^Acquire::(http|https|ftp|Check-|Retries|ForceIP)' >"$root/etc/apt/apt.conf.d/99host" || true
    for file in config config.toml; do
        [ ! -r "${CARGO_HOME:-$HOME/.cargo}/$file" ] || cp "${CARGO_HOME:-$HOME/.cargo}/$file" "$root/root/.cargo/"
    done
    for file in /etc/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf"; do
        [ ! -r "$file" ] || cp "$file" "$root/etc/pip.conf"
    done
}

# Of the environment only what has to do with the above.
network_environment() {
    env | grep -iE '^(https?_proxy|no_proxy|all_proxy|PIP_(CERT|PROXY|DEFAULT_TIMEOUT|TRUSTED_HOST|NO_INDEX|[A-Z_]*INDEX_URL)|CARGO_(HTTP|NET|REGISTR|SOURCE)[A-Z_]*|SSL_CERT_[A-Z]+|CURL_CA_BUNDLE|REQUESTS_CA_BUNDLE)='
}

# Where the distribution's Rust is too old; a toolchain is a folder that runs anywhere.
lend_rust() {
    mkdir -p "$root/opt/rust"
    mount --bind -o ro "$(rustc --print sysroot)" "$root/opt/rust"
}

mount_system() {
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t sysfs -o ro sysfs "$root/sys" 2>/dev/null || true
}

new_checkout() {
    rm -rf --one-file-system "${root:?}$checkout"
    mkdir -p "$root$checkout"
    git archive HEAD | tar -x -C "$root$checkout"
}

inside() {
    local settings=()
    mapfile -t settings < <(network_environment)
    chroot "$root" /usr/bin/env -i "${settings[@]}" HOME=/root LANG=C.UTF-8 CI=true \
        PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive bash -c "cd $checkout && $*"
}

[ -n "${KEEP:-}" ] || rm -rf --one-file-system "${root:?}"
[ -d "$root" ] || make_debian
# The root of a system is a mount point, without which there is no mount namespace for a test.
mount --bind "$root" "$root"
pass_on_network
[ "$SUITE" != bookworm ] || [ -n "${OWN_RUST:-}" ] || lend_rust
mount_system
new_checkout
[ -z "$HAND" ] || { mkdir -p "$root/srv/hand" && mount --bind "$HAND" "$root/srv/hand"; }
inside 'command -v make >/dev/null || { apt-get -q update && apt-get -qy install --no-install-recommends make; }'
say "== Debian $(cat "$root/etc/debian_version"), commit $(git rev-parse --short HEAD)"
inside "${*:-make build-deps && make build && make install DESTDIR=/tmp/installed && make demo && bash .ci/run}"
