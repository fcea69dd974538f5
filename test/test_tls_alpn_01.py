"""tls-alpn-01 (RFC 8737): the challenge's certificate in handshakes for `acme-tls/1`, and nowhere else."""

from __future__ import annotations

import pytest
from cryptography import x509

from harness.a2md import A2md
from harness.certificate import Certificate
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.pki import Pki
from harness.sandbox import Sandbox
from harness.tls import HandshakeFailed
from harness.world import World

PROTOCOLS = "Protocols http/1.1 acme-tls/1"
ONLY = "MDCAChallenges tls-alpn-01"
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
KEYS = {
    "ec-rsa": "MDPrivateKeys secp384r1 rsa2048",
    "rsa-ec": "MDPrivateKeys rsa2048 secp384r1",
    "ec": "MDPrivateKeys secp256r1",
    "rsa": "MDPrivateKeys RSA 3072",
}


def _setups(sandbox: Sandbox, domain: str, group: str = "staging") -> list[str]:
    """The challenge-setup events of a job, oldest first."""
    entries = reversed(sandbox.job(domain, group)["log"]["entries"])
    return [entry["type"].partition("challenge-setup:")[2] for entry in entries if "challenge-setup" in entry["type"]]


def _digest(certificate: Certificate) -> bytes:
    extension = certificate.x509.extensions.get_extension_for_oid(ACME_IDENTIFIER)
    assert extension.critical
    value = extension.value.value  # type: ignore[attr-defined]
    assert value[:2] == b"\x04\x20" and len(value) == 34
    return bytes(value[2:])


@pytest.mark.pebble(authz_reuse=0)
@pytest.mark.parametrize("tls", ["", "TLSv1.2"])
def test_any_key_type_in_any_order_and_a_static_certificate_in_the_host(httpd: Httpd, pebble: Pebble, pki: Pki, tls: str) -> None:
    ca = pki.ca("static")
    lines = [PROTOCOLS, *([f"SSLProtocol -all +{tls}"] if tls else [])]
    for name, keys in KEYS.items():
        httpd.config.md_set(f"{name}.example.org", ONLY, keys).https(f"{name}.example.org", *lines)
    for key, keys in (("rsa2048", "secp384r1"), ("p256", "rsa2048")):
        leaf = ca.leaf(f"static-{key}.example.org", key=key)
        files = [f"SSLCertificateFile {leaf.chain_file}", f"SSLCertificateKeyFile {leaf.key_file}"]
        httpd.config.md_set(f"static-{key}.example.org", ONLY, f"MDPrivateKeys {keys}")
        httpd.config.https(f"static-{key}.example.org", *lines, *files)
    httpd.start().obtain(*(f"{name}.example.org" for name in KEYS), "static-rsa2048.example.org", "static-p256.example.org")
    for name in KEYS:
        assert httpd.served(f"{name}.example.org", ca=pebble.root).verified, name
    for key, sigalgs in (("rsa2048", "RSA-PSS+SHA256:RSA+SHA256"), ("p256", "ECDSA+SHA256")):
        # Beside the domain's, which is of the other type.
        assert httpd.served(f"static-{key}.example.org", sigalgs=sigalgs, ca=ca.cert_file).verified


@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
def test_the_challenge_is_seen_by_those_who_ask_for_it_only(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MDPrivateKeys secp384r1 rsa2048", ONLY)
    httpd.config.md("a.example.org").https("a.example.org", PROTOCOLS)
    for name, protocols in (("idle.example.org", PROTOCOLS), ("plain.example.org", "Protocols http/1.1")):
        httpd.config.md_set(name, "MDRenewMode manual").https(name, protocols)
    hold = gate.hold("/chalZ/")
    httpd.start().wait(lambda: hold.held, what="challenge in place")
    seen = set()
    for tls, sigalgs in (("1.3", None), ("1.2", "ECDSA+SHA256:ECDSA+SHA384"), ("1.2", "RSA+SHA256:RSA-PSS+SHA256")):
        served = httpd.served("a.example.org", tls=tls, sigalgs=sigalgs, alpn="acme-tls/1")
        assert (served.alpn, served.names, len(_digest(served.leaf))) == ("acme-tls/1", ["a.example.org"], 32)
        seen.add(served.leaf.key_type)
    assert len(seen) == 2, seen
    challenge = httpd.served("A.example.org", alpn="acme-tls/1").leaf
    assert challenge.x509.subject.rfc4514_string() == "CN=tls-alpn-01-challenge"
    assert challenge.x509.extensions.get_extension_for_class(x509.BasicConstraints).critical
    for protocols in (None, "http/1.1"):
        served = httpd.served("a.example.org", alpn=protocols)
        assert "tls-alpn-01" not in served.leaf.x509.subject.rfc4514_string()
    # No challenge for that name, a name of nobody, and a host that does not speak the protocol: the protocol is not selected.
    for name in ("idle.example.org", "nobody.example.org", "plain.example.org"):
        served = httpd.served(name, alpn="acme-tls/1,http/1.1")
        assert served.alpn == "http/1.1" and "tls-alpn-01" not in served.leaf.x509.subject.rfc4514_string()
        with pytest.raises(HandshakeFailed):
            httpd.served(name, alpn="acme-tls/1")
        said = [line for line in httpd.log.find("AH10080") if line.has(f"{name}: a tls-alpn-01 connection, but there is no challenge")]
        assert len(said) == (0 if name == "plain.example.org" else 2), name
    files = {path.name: path.stat() for path in sandbox.challenges("a.example.org").iterdir()}
    kinds = ("privkey.pem", "pubcert.pem", "privkey.secp384r1.pem", "pubcert.secp384r1.pem")
    assert set(files) == {f"acme-tls-alpn-01-{kind}" for kind in kinds}
    assert {stat.st_mode & 0o777 for name, stat in files.items() if "privkey" in name} == {0o600}
    hold.release()
    httpd.obtain("a.example.org")
    assert httpd.served("a.example.org", ca=pebble.root).verified
    assert not list(sandbox.challenges().iterdir())


@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
def test_a_certificate_that_an_earlier_run_left_is_replaced(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", ONLY).md("a.example.org").https("a.example.org", PROTOCOLS)
    hold = gate.hold("/chalZ/")
    httpd.start().wait(lambda: hold.held, what="challenge in place")
    file = sandbox.challenges("a.example.org") / "acme-tls-alpn-01-pubcert.pem"
    left = file.read_text()
    httpd.log.expects("AH00098", optional=True)
    httpd.kill()
    # The order is lost, so that the next token is another one.
    (sandbox.staging("a.example.org") / "order.json").unlink()
    hold.release()
    again = gate.hold("/chalZ/")
    httpd.start().wait(lambda: again.held, what="challenge in place")
    assert file.read_text() != left
    again.release()
    httpd.obtain("a.example.org")
    assert httpd.served("a.example.org", ca=pebble.root).verified


@pytest.mark.module("ours")
@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
def test_a_running_server_answers_challenges_of_a2md(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.add("MDRenewMode manual", ONLY).md("a.example.org").https("a.example.org", PROTOCOLS)
    httpd.start()
    # The program is root's, and the children that answer are not.
    done = A2md(sandbox, pebble)("drive", "a.example.org")
    assert (done.code, pebble.new_orders) == (0, 1), done


@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
def test_behind_a_load_balancer_that_ends_tls_http_01_takes_over_and_stays(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World
) -> None:
    balancer = world.balancer(httpd)
    name = "a.example.org"
    httpd.config.md(name).http(name).https(name, PROTOCOLS)
    httpd.log.expects("AH10056")
    httpd.start().wait_staged(name)
    assert _setups(sandbox, name) == [f"tls-alpn-01:{name}", f"http-01:{name}"]
    failed = httpd.log.find("AH10056")
    assert len(failed) == 1
    assert failed[0].has("next attempt uses 'http-01' in place of 'tls-alpn-01'")
    assert (balancer.connections > 0, sandbox.job(name)["challenges"]) == (True, {"failed-before": ["tls-alpn-01"]})

    # Renewals after that begin with what worked.
    httpd.config.add("MDRenewWindow 100d")
    seen = balancer.connections
    httpd.graceful().wait_staged(name)
    httpd.stop()
    httpd.start().wait_staged(name)
    assert (_setups(sandbox, name), pebble.new_orders) == ([f"http-01:{name}"], 4)
    assert balancer.connections == seen
    assert sandbox.job(name, "domains")["challenges"] == {"failed-before": ["tls-alpn-01"]}


CHOICES = {
    # Ports that are reachable, Protocols of the host, the type that is used.
    "both": ("http:{http} https:{https}", PROTOCOLS, "tls-alpn-01"),
    "https": ("http:- https:{https}", PROTOCOLS, "tls-alpn-01"),
    "http": ("http:{http} https:-", PROTOCOLS, "http-01"),
    "plain": ("http:{http} https:{https}", "Protocols http/1.1", "http-01"),
}


@pytest.mark.pebble(authz_reuse=0)
@pytest.mark.parametrize("choice", CHOICES)
def test_the_type_is_chosen_by_what_can_be_reached(httpd: Httpd, sandbox: Sandbox, choice: str) -> None:
    ports, protocols, kind = CHOICES[choice]
    ports = ports.format(http=httpd.config.http_port, https=httpd.config.https_port)
    httpd.config.add(f"MDPortMap {ports}").md("a.example.org").http("a.example.org").https("a.example.org", protocols)
    httpd.start().wait_staged("a.example.org")
    assert _setups(sandbox, "a.example.org") == [f"{kind}:a.example.org"]


def test_without_any_type_that_can_work_the_start_says_why(httpd: Httpd) -> None:
    httpd.config.add("MDPortMap http:- https:-").md("a.example.org", "*.a.example.org").https("a.example.org", PROTOCOLS)
    httpd.log.expects("AH10173", "AH10056")
    httpd.start().wait_log("AH10056")
    for number in ("AH10173", "AH10056"):
        text = httpd.log.find(number)[0].text
        assert "None of the ACME challenge methods configured for this domain are suitable." in text
        for words in ("port 443", "port 80", "MDChallengeDns01", "'*.a.example.org'"):
            assert words in text, text


@pytest.mark.pebble(authz_reuse=0)
def test_the_next_listed_type_is_used_where_the_first_cannot_be_set_up(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.md_set("a.example.org", "MDCAChallenges dns-01 tls-alpn-01 http-01").http("a.example.org").https("a.example.org")
    httpd.config.md_set("b.example.org", "MDCAChallenges foo-99 dns-01").https("b.example.org")
    httpd.log.expects("AH10056", "MD0093")
    httpd.start().wait_staged("a.example.org").wait_log("AH10056")
    assert _setups(sandbox, "a.example.org") == ["http-01:a.example.org"]
    assert httpd.log.find("AH10056")[0].has("problem[challenge-mismatch]")
    last = httpd.md_status("b.example.org")["renewal"]["last"]
    assert (last["problem"], last["status"]) == ("challenge-mismatch", 22)
    assert "None of offered challenge types for domain b.example.org are supported." in last["detail"]
    assert "MDChallengeDns01" in last["detail"]
