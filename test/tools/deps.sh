#!/usr/bin/env bash
# deps.sh build|test: installs the system packages that `make build`, or the tests, need and that are not there yet.
# Not root, or no apt: says what is missing and how to get it, and fails.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

purpose=${1:-}
MIN_RUST=1.85
newest() { sort -V | tail -n 1; }
at_least() { [ "$(printf '%s\n' "$1" "$2" | newest)" = "$1" ]; }

have_rust() { has cargo && at_least "$(rustc --version 2>/dev/null | cut -d ' ' -f 2)" "$MIN_RUST"; }
have_library() { pkg-config --exists "$1" 2>/dev/null; }
have_libclang() {
    compgen -G "${LIBCLANG_PATH:-/usr/lib}/libclang*.so*" >/dev/null ||
        compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || ldconfig -p 2>/dev/null | grep -q libclang
}
have_clang_headers() { compgen -G '/usr/lib*/clang/*/include/stddef.h' >/dev/null || compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null; }
# Its tools have the server in them; the package of the server would start one.
have_engine() { has redis-server || has valkey-server || has redis-check-rdb || has valkey-check-rdb; }
have_chromium() { has chromium || has chromium-browser; }
have_httpd() { has apache2 || [ -x /usr/sbin/apache2 ] || has httpd || [ -x /usr/sbin/httpd ]; }

# What is needed | how to see that it is there | the Debian package that brings it.
BUILD='
a C compiler               | has cc                        | gcc libc6-dev
pkg-config                 | has pkg-config                | pkg-config
Rust 1.85 or newer         | have_rust                     | cargo rustc
apxs and the httpd headers | has apxs                      | apache2-dev
OpenSSL headers            | have_library openssl          | libssl-dev
curl headers               | have_library libcurl          | libcurl4-openssl-dev
libclang                   | have_libclang                 | libclang-dev
headers of clang           | have_clang_headers            | libclang-dev
'
# apache2-bin suffices: the package apache2 would set up and start a server of the system's.
TEST='
Apache httpd               | have_httpd                    | apache2-bin
binutils                   | has nm                        | binutils
openssl                    | has openssl                   | openssl
curl                       | has curl                      | curl
Python 3                   | has python3                   | python3
venv of Python             | python3 -c "import ensurepip" | python3-venv
git                        | has git                       | git
strace                     | has strace                    | strace
faketime                   | has faketime                  | faketime
wrk                        | has wrk                       | wrk
Chromium                   | have_chromium                 | chromium fonts-dejavu-core
Redis or Valkey            | have_engine                   | redis-tools
nsupdate                   | has nsupdate                  | bind9-dnsutils libcap2
'
case $purpose in
    build) needed=$BUILD ;;
    test) needed=$TEST ;;
    *) die "usage: $0 build|test" ;;
esac

# Fills `missing` (words) and `packages` from the table.
look() {
    missing=() packages=()
    while IFS='|' read -r what test package; do
        [ -n "$what" ] || continue
        eval "$test" >/dev/null 2>&1 && continue
        missing+=("$(echo $what)")
        packages+=($package)
    done <<<"$needed"
}

candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/ *Candidate: //p'; }

# A distribution's Rust may be too old: then it is not worth installing.
check_rust_candidate() {
    have_rust && return
    local candidate
    candidate=$(candidate rustc)
    # Lists that were never fetched say nothing, and only root can fetch them.
    [ -n "$candidate" ] || [ "$(id -u)" = 0 ] || return 0
    # Debian 12 has a newer Rust among its security updates, for browsers.
    if ! at_least "${candidate:-0}" "$MIN_RUST" && at_least "$(candidate rustc-web)" "$MIN_RUST"; then
        packages=($(printf '%s\n' "${packages[@]}" | sed -E 's/^(cargo|rustc)$/\1-web/'))
        return
    fi
    at_least "${candidate:-0}" "$MIN_RUST" || die "Rust $MIN_RUST or newer is missing, and this distribution has ${candidate:-none}." \
        "Install it with rustup (see the Rust project's site) and put cargo into PATH."
}

# mod_ssl warns of a libssl that is older than the one it was built with, as it is where an upgrade is overdue.
libssl_is_old() {
    local module=/usr/lib/apache2/modules/mod_ssl.so built here
    [ -r $module ] && has openssl || return 1
    built=$(grep -ao 'OpenSSL [0-9][0-9.]*[0-9]' $module | cut -d ' ' -f 2 | newest)
    here=$(openssl version | sed 's/.*(Library: //' | cut -d ' ' -f 2)
    [ -n "$built" ] && ! at_least "$here" "$built"
}

# The package of the libssl that is installed, unless the administrator holds it back.
libssl_package() {
    local package
    package=$(dpkg-query -W -f '${binary:Package} ${db:Status-Status}\n' 'libssl3*' 2>/dev/null | sed -n 's/ installed$//p' | head -n 1)
    [ -z "$package" ] || apt-mark showhold 2>/dev/null | grep -qx "${package%:*}" || echo "$package"
}

look
# The tests do not depend on it, so nothing is asked of somebody who cannot install it.
if [ $purpose = test ] && [ "$(id -u)" = 0 ] && has apt-get && { ! have_httpd || libssl_is_old; }; then
    packages+=($(libssl_package))
fi
[ ${#packages[@]} -gt 0 ] || exit 0

list=$(printf '%s, ' "${missing[@]}")
[ ${#missing[@]} = 0 ] || say "Missing: ${list%, }"
has apt-get || die "There is no apt-get here. Install the above with the system's package manager; Debian calls them:" "  ${packages[*]}"
[ "$(id -u)" != 0 ] || refresh_apt
[ $purpose = test ] || check_rust_candidate
[ "$(id -u)" = 0 ] || die "Not root, so nothing is installed. Run:" "  sudo apt-get update && sudo apt-get install --no-install-recommends ${packages[*]}"

DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends "${packages[@]}"
hash -r

look
[ ${#missing[@]} -eq 0 ] || die "Installed, but still not found: ${missing[*]}"
