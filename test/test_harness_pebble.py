"""The harness: the private CA, its DNS and its management port."""

from __future__ import annotations

import socket
import struct
import subprocess
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from harness.a2md import A2md
from harness.certificate import Certificate
from harness.dns import Dns
from harness.http import request
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.pki import Pki
from harness.sandbox import Sandbox
from harness.world import World


@pytest.mark.pebble(alternate_roots=1, profiles={"short": 600}, eab={"kid-1": "bm90IG11Y2ggb2YgYSBzZWNyZXQ"})
def test_pebble_follows_its_settings(pebble: Pebble) -> None:
    meta = request(pebble.directory, pebble.port, ca=pebble.trust).json()["meta"]
    assert list(meta["profiles"]) == ["short"]
    assert meta["externalAccountRequired"] is True
    assert len(pebble.roots()) == len(pebble.intermediates()) == 2


def test_pebble_is_another_ca_after_a_restart(pebble: Pebble) -> None:
    first = pebble.roots()[0]
    assert Certificate.chain(pebble.root) == [first]
    pebble.restart(nonce_reject=50, strict=True)
    assert pebble.roots()[0] != first
    assert Certificate.chain(pebble.root) == pebble.roots()
    assert "Configured to reject 50% of good nonces" in pebble.log.read_text()


def test_pebble_refuses_connections_when_killed(pebble: Pebble) -> None:
    pebble.kill()
    with pytest.raises(ConnectionRefusedError):
        request(pebble.directory, pebble.port, ca=pebble.trust)
    assert pebble.pid is None
    pebble.start()
    assert request(pebble.directory, pebble.port, ca=pebble.trust).status == 200


@pytest.mark.pebble(profiles={"default": 3600}, authz_reuse=100)
def test_pebble_knows_what_it_issued(pebble: Pebble, httpd: Httpd, pki: Pki) -> None:
    httpd.config.managed("a.example.org")
    httpd.start().obtain("a.example.org")
    leaf = httpd.served("a.example.org").leaf
    assert timedelta(minutes=59) < leaf.not_after - leaf.not_before <= timedelta(hours=1)
    assert leaf.issuer == pebble.intermediates()[0].common_name
    assert pebble.cert_status(leaf)["Status"] == "Valid"
    assert pebble.cert_status(pki.ca().certificate) == {}
    assert pebble.new_accounts == 1
    assert "POST /order-plz" in pebble.requests("order-plz")

    now = datetime.now(UTC).replace(microsecond=0)
    pebble.set_ari(leaf, now + timedelta(days=1), now + timedelta(days=2), "https://ari.example.org/")
    directory = request(pebble.directory, pebble.port, ca=pebble.trust).json()
    ari = request(f"{directory['renewalInfo']}/{_ari_id(leaf)}", pebble.port, ca=pebble.trust).json()
    assert ari["explanationURL"] == "https://ari.example.org/"
    assert datetime.fromisoformat(ari["suggestedWindow"]["end"]) == now + timedelta(days=2)


@pytest.mark.pebble(nonce_reject=0, authz_reuse=0, always_valid=True)
def test_pebble_reuses_no_authorization_if_told_so(pebble: Pebble, httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.managed("a.example.org")
    httpd.start().obtain("a.example.org").stop()
    for _ in range(9):
        assert A2md(sandbox, pebble)("drive", "-f", "a.example.org").code == 0
    assert len(pebble.requests("/chalZ/")) == pebble.new_orders == 10


def _ari_id(leaf: Certificate) -> str:
    key_id = leaf.x509.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    parts = (key_id or b"", bytes.fromhex(leaf.serial))
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def test_two_cas_validate_at_the_same_server(world: World) -> None:
    first, second = world.pebble(), world.pebble()
    assert first.port != second.port and first.http_port == second.http_port
    httpd = world.httpd(first)
    httpd.config.managed("a.example.org").md_set("b.example.org", f"MDCertificateAuthority {second.directory}")
    httpd.config.http("b.example.org").https("b.example.org")
    httpd.start().obtain("a.example.org", "b.example.org")
    assert httpd.served("a.example.org", ca=first.root).verified
    assert httpd.served("b.example.org", ca=second.root).verified


def test_dns_answers_what_it_was_told(dns: Dns) -> None:
    assert _dig(dns, "a.example.org", 1) == bytes([127, 0, 0, 1])
    dns.set_a("a.example.org", "127.0.0.7")
    dns.set_txt("a.example.org", "text")
    assert _dig(dns, "a.example.org", 1) == bytes([127, 0, 0, 7])
    assert _dig(dns, "a.example.org", 16) == b"\x04text"
    dns.clear_txt("a.example.org")
    dns.clear_a("a.example.org")
    assert _dig(dns, "a.example.org", 16) is None
    dns.servfail("a.example.org")
    assert _dig(dns, "a.example.org", 1) is None
    assert len(dns.history("a.example.org")) == 5


def test_dns_command_publishes_and_notes_its_calls(dns: Dns) -> None:
    command = dns.command()
    subprocess.run([command, "setup", "*.example.org", "proof"], check=True)
    assert _dig(dns, "_acme-challenge.example.org", 16) == b"\x05proof"
    subprocess.run([command, "teardown", "*.example.org"], check=True)
    assert _dig(dns, "_acme-challenge.example.org", 16) is None
    assert dns.calls() == [["setup", "*.example.org", "proof"], ["teardown", "*.example.org"]]


def _dig(dns: Dns, name: str, kind: int) -> bytes | None:
    """The data of the last record of the answer, None without one."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    question = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">2H", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.sendto(question, ("127.0.0.1", dns.port))
        answer = sock.recv(4096)
    if struct.unpack(">H", answer[6:8])[0] == 0:
        return None
    start = answer.rindex(struct.pack(">2H", kind, 1)) + 8
    length = struct.unpack(">H", answer[start : start + 2])[0]
    return answer[start + 2 : start + 2 + length]
