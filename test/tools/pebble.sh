#!/usr/bin/env bash
# Provides the test CA: build/pebble/bin/{pebble,pebble-challtestsrv}, a Pebble whose directory offers profiles.
# Taken from PATH when that one does, else from Debian's unstable, unpacked here (the program needs libc only).
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

base=$PWD/build/pebble
bin=$base/bin
mkdir -p "$bin"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Versions are no help, as builds from source have none: start it and look at its directory.
offers_profiles() {
    local pebble=$1 port dir pid found=1
    dir=$(mktemp -d) port=$(free_port)
    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 2 -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
    cat >"$dir/config.json" <<JSON
{ "pebble": { "listenAddress": "127.0.0.1:$port", "managementListenAddress": "127.0.0.1:0", "httpPort": 1, "tlsPort": 1,
  "certificate": "$dir/cert.pem", "privateKey": "$dir/key.pem",
  "profiles": { "default": { "description": "a look", "validityPeriod": 3600 } } } }
JSON
    "$pebble" -config "$dir/config.json" >"$dir/log" 2>&1 &
    pid=$!
    for _ in $(seq 100); do
        if curl -sk --noproxy '*' "https://127.0.0.1:$port/dir" >"$dir/directory"; then
            grep -q '"profiles"' "$dir/directory" && found=0
            break
        fi
        kill -0 $pid 2>/dev/null || break
        sleep 0.1
    done
    kill $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    rm -rf "$dir"
    return $found
}

from_path() {
    has pebble && has pebble-challtestsrv && offers_profiles "$(command -v pebble)" || return 1
    cp "$(command -v pebble)" "$(command -v pebble-challtestsrv)" "$bin/"
}

from_unstable() {
    local work=$base/apt
    rm -rf "$work"
    unstable_apt "$work" update
    (cd "$work" && unstable_apt "$work" download pebble)
    dpkg-deb --fsys-tarfile "$work"/pebble_*.deb | tar -xmC "$bin" --strip-components=3 ./usr/bin/pebble ./usr/bin/pebble-challtestsrv
    rm -rf "$work"
}

rm -f "$bin"/*
from_path || from_unstable || die "No Pebble: install one whose directory offers profiles (2.5 or newer) with pebble-challtestsrv into PATH."
offers_profiles "$bin/pebble" || { rm -f "$bin"/*; die "This Pebble does not start or offers no profiles."; }
say "Pebble: build/pebble/bin/pebble"
