# What the tests of the packages share: a private certificate authority at its usual ports, and a server to ask.

NAME=www.example.org
STORE=/etc/apache2/md
work=${AUTOPKGTEST_TMP:-$(mktemp -d)}

say() { printf '%s\n' "$*"; }
fail() {
    say "FAILED: $*"
    tail -n 30 /var/log/apache2/error.log
    exit 1
}
# A command that succeeds in the end; the limit only ends a test that is broken.
until_it_does() {
    local end=$((SECONDS + 60))
    until "$@"; do
        [ $SECONDS -lt $end ] || fail "in 60 seconds never: $*"
        sleep 0.1
    done
}

# Pebble validates at ports 80 and 443, by a DNS in which every name leads to this machine.
start_authority() {
    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 \
        -keyout "$work/pebble.key" -out "$work/pebble.pem" 2>/dev/null
    cat >"$work/pebble.json" <<JSON
{ "pebble": { "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000", "httpPort": 80, "tlsPort": 443,
  "certificate": "$work/pebble.pem", "privateKey": "$work/pebble.key",
  "profiles": { "default": { "description": "90 days", "validityPeriod": 7776000 } } } }
JSON
    # Releases of challtestsrv differ in some flags.
    local flags=(-http01 '' -https01 '' -tlsalpn01 '') known dns=-dns01
    known=$(pebble-challtestsrv -h 2>&1 || true)
    ! grep -q -- '-doh ' <<<"$known" || flags+=(-doh '')
    ! grep -q -- '-dnsserver ' <<<"$known" || dns=-dnsserver
    pebble-challtestsrv "${flags[@]}" -defaultIPv6 '' $dns 127.0.0.1:8053 -management 127.0.0.1:8055 >"$work/dns.log" 2>&1 &
    authority=($!)
    PEBBLE_VA_NOSLEEP=1 pebble -config "$work/pebble.json" -dnsserver 127.0.0.1:8053 >"$work/pebble.log" 2>&1 &
    authority+=($!)
    trap 'kill "${authority[@]}" 2>/dev/null' EXIT
    until_it_does curl -sf --noproxy '*' --cacert "$work/pebble.pem" -o "$work/root.pem" https://localhost:15000/roots/0
    # All that differs from a public authority.
    printf '%s\n' "MDCertificateAuthority https://localhost:14000/dir" "MDCACertificateFile $work/pebble.pem" >/etc/apache2/conf-available/authority.conf
    chmod 755 "$work"
    a2enconf -q authority
}

# The page of the host, verified with the authority's root.
page() { curl -sf --noproxy '*' --cacert "$work/root.pem" --resolve "$NAME:443:127.0.0.1" -o "$work/page" "https://$NAME/"; }
local_page() { curl -sf --noproxy '*' -H "Host: localhost" "http://localhost/$1"; }
serial() {
    openssl s_client -connect localhost:443 -servername "$NAME" </dev/null 2>/dev/null | openssl x509 -noout -serial
}
restart() { apachectl configtest && service apache2 restart; }
