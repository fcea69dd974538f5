"""Certificates for IP addresses (RFC 8738): ordered beside a DNS name, proven by http-01 and tls-alpn-01, served without SNI."""

from __future__ import annotations

import re

import pytest

from harness.a2md import A2md
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.tls import HandshakeFailed
from harness.world import World

V4, V6, NAME, ALPN = "127.0.0.2", "::1", "mixed.example.org", "127.0.0.3"
PROTOCOLS = "Protocols http/1.1 acme-tls/1"


def _at(httpd: Httpd, address: str, *lines: str) -> None:
    """A virtual host that is the only one at its address, and the address at the http port."""
    http, https = (f"{address}:{port}" for port in (httpd.config.http_port, httpd.config.https_port))
    root = f'DocumentRoot "{httpd.config.sandbox.docs / NAME}"'
    httpd.config.add(f"Listen {http}", f"Listen {https}", f"<VirtualHost {https}>", "SSLEngine on", root, PROTOCOLS, *lines, "</VirtualHost>")


def _proofs(sandbox: Sandbox, domain: str) -> set[tuple[str, str]]:
    """The challenges that the last child to work on a renewal has set up, as type and name: another may have begun it."""
    details = [entry.get("detail", "") for entry in sandbox.job(domain, "domains")["log"]["entries"]]
    found = [re.match(r"Setting up challenge '(.+)' for domain (.+)", detail) for detail in details]
    return {(each[1], each[2]) for each in found if each}


@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
def test_addresses_have_certificates_by_either_challenge(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.add("MDCAChallenges dns-01 http-01").md_set(f"[0:0:0::1] {V4} {NAME}", "MDRequireHttps temporary")
    httpd.config.md_set(ALPN, "MDCAChallenges tls-alpn-01")
    httpd.config.md_set("127.0.0.4", "MDRenewMode always", "MDCAChallenges dns-01", f"MDChallengeDns01 {sandbox.root}/absent")
    httpd.config.http(NAME, aliases=[V4, V6]).https(NAME, PROTOCOLS)
    _at(httpd, V4, f"ServerName {V4}")
    _at(httpd, f"[{V6}]", f"ServerName {NAME}", f"ServerAlias {V6}")
    _at(httpd, ALPN, f"ServerName {ALPN}")
    # mod_ssl knows names of hosts only.
    httpd.log.expects("AH01909")
    httpd.log.expects("AH10173", "MD0061")
    httpd.log.expects("AH10056", optional=True)
    httpd.start()
    httpd.obtain(V6, ALPN)
    assert set() < _proofs(sandbox, V6) <= {("http-01", V6), ("http-01", V4), ("http-01", NAME)}
    assert _proofs(sandbox, ALPN) == {("tls-alpn-01", ALPN)}
    assert httpd.log.find("The address '127.0.0.4' needs the challenge type 'http-01' or 'tls-alpn-01'")

    # Clients send no SNI for an address; the certificate is verified to have it as one.
    for address, names in ((V4, [V4, V6, NAME]), (V6, [V4, V6, NAME]), (ALPN, [ALPN])):
        url = f"https://[{address}]/" if ":" in address else f"https://{address}/"
        answer = httpd.get(url, address=address, ca=pebble.root)
        assert (answer.status, answer.text) == (200, NAME) and answer.certificate
        assert (answer.certificate.names, answer.certificate.common_name) == (sorted(names), None)
    assert httpd.served(NAME, ca=pebble.root).verified

    for host, there in ((f"[{V6}]", f"[{V6}]"), ("[0:0:0:0:0:0:0:1]", f"[{V6}]"), (V4, V4), (NAME, NAME)):
        answer = httpd.get(f"http://{host}/x?y", address=V6)
        assert (answer.status, answer.headers["Location"]) == (302, f"https://{there}/x?y"), host

    # What was issued is what was ordered, however it is spelled: nothing is due.
    assert sandbox.md_json(V6)["state"] == 2
    for name in ("[::1]", "0:0::1", V4, NAME):
        assert httpd.md_status(name)["domains"] == [V6, V4, NAME], name
    a2md = A2md(sandbox, pebble)
    assert a2md.json("list", "[0::1]").md["domains"] == [V6, V4, NAME]
    assert a2md("status", "[::1]").code == 0
    assert pebble.new_orders == 2

    # A second type of key, all of it by tls-alpn-01.
    httpd.config.add("MDPrivateKeys RSA 2048 secp256r1", "MDCAChallenges tls-alpn-01")
    httpd.graceful().obtain(V6, ALPN)
    assert set() < _proofs(sandbox, V6) <= {("tls-alpn-01", V6), ("tls-alpn-01", V4), ("tls-alpn-01", NAME)}
    assert pebble.new_orders == 4


@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
def test_a_handshake_without_a_name_gets_the_challenge_of_the_address_it_came_to(httpd: Httpd, pebble: Pebble, world: World) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MDCAChallenges tls-alpn-01", "MDPrivateKeys RSA 2048 secp384r1")
    httpd.config.md(ALPN).md(V6, "six.example.org")
    _at(httpd, ALPN, f"ServerName {ALPN}")
    _at(httpd, f"[{V6}]", "ServerName six.example.org", f"ServerAlias {V6}")
    # Hosts of another address, which speak the protocol: the first one has no challenge.
    httpd.config.md_set(NAME, "MDRenewMode manual").https(NAME, PROTOCOLS).https("six.example.org", PROTOCOLS)
    httpd.log.expects("AH01909")
    first = gate.hold("/chalZ/", count=2)
    httpd.start().wait(lambda: first.held == 2, what="challenges in place")
    _shows_challenge(httpd, ALPN, "3.0.0.127.in-addr.arpa")
    for name in (None, NAME):
        assert _alpn(httpd, name, "acme-tls/1") != "acme-tls/1"
        assert _alpn(httpd, name, "acme-tls/1,http/1.1") == "http/1.1"
    httpd.wait_log("AH10080")
    # The second challenge of the other domain is in place, too.
    second = gate.hold("/chalZ/")
    first.release()
    httpd.wait(lambda: second.held, what="challenges in place")
    _shows_challenge(httpd, V6, f"1.{'0.' * 31}ip6.arpa")
    second.release()
    httpd.obtain(V6, ALPN)
    for address in (ALPN, V6):
        assert httpd.served(None, address=address, ca=pebble.root).verified
        assert _alpn(httpd, None, "acme-tls/1,http/1.1", address=address) == "http/1.1"


def _shows_challenge(httpd: Httpd, address: str, reverse: str) -> None:
    """The challenge is shown to those who ask for the protocol, by the reverse name or without one, and to nobody else."""
    for name, tls in ((None, "1.3"), (None, "1.2"), (reverse, "1.3")):
        served = httpd.served(name, alpn="acme-tls/1", tls=tls, address=address)
        assert (served.alpn, served.names) == ("acme-tls/1", [address]), (name, tls)
        assert served.leaf.x509.subject.rfc4514_string() == "CN=tls-alpn-01-challenge"
    assert httpd.served(None, address=address).leaf.x509.subject.rfc4514_string() != "CN=tls-alpn-01-challenge"


def _alpn(httpd: Httpd, name: str | None, alpn: str, address: str = "127.0.0.1") -> str | None:
    """The protocol that is selected, or None if the client ends a handshake without one that it knows."""
    try:
        return httpd.served(name, alpn=alpn, address=address).alpn
    except HandshakeFailed:
        return None
