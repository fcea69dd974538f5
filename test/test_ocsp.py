"""OCSP stapling: which staple a client gets, what is fetched and when, and what is never stapled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from harness import process
from harness.httpd import Httpd
from harness.module import Module
from harness.ocsp import Responder
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.pki import Ca, Leaf
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = pytest.mark.module("ours")

MD_ALSO_OFF = "`MDStapling off` in a section is obeyed"


def _own(leaf: Leaf) -> list[str]:
    """A host that brings its certificate itself."""
    return [f"SSLCertificateFile {leaf.chain_file}", f"SSLCertificateKeyFile {leaf.key_file}"]


def _managed(httpd: Httpd, leaf: Leaf, *section: str, host: tuple[str, ...] = ()) -> None:
    """A host and its managed domain, which has obtained this certificate before."""
    name = leaf.certificate.names[0]
    folder = httpd.sandbox.domains(name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pubcert.pem").write_text(leaf.chain_file.read_text())
    (folder / "privkey.pem").write_text(leaf.key_file.read_text())
    httpd.config.md_set(name, *section).https(name, *host)


def _static(httpd: Httpd, leaf: Leaf, *section: str, host: tuple[str, ...] = ()) -> None:
    """A host and its managed domain, to which the administrator gives this certificate."""
    name = leaf.certificate.names[0]
    files = [f"MDCertificateFile {leaf.chain_file}", f"MDCertificateKeyFile {leaf.key_file}"]
    httpd.config.md_set(name, *files, *section).https(name, *host)


def _staples(httpd: Httpd, names: list[str], **options: Any) -> dict[str, str | None]:
    """Status that is stapled for each of the hosts."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(names, pool.map(lambda name: httpd.served(name, status=True, **options).staple, names), strict=True))


def _stored(sandbox: Sandbox) -> int:
    return len(list(sandbox.ocsp().glob("*/ocsp-*.json")))


@dataclass(frozen=True)
class Switches:
    """Where stapling is switched on and off for one host; None is a directive that is not there."""

    main: str | None
    host: str | None
    others: str | None
    section: str | None
    kind: str
    ssl: str | None

    @classmethod
    def all(cls, main: str | None) -> Iterator[Switches]:
        for host, others, ssl in product((None, "on", "off"), (None, "off"), (None, "on")):
            yield cls(main, host, others, None, "own", ssl)
        yield from (cls(main, host, None, None, "own", "off") for host in ("on", "off"))
        for host, others, section, ssl in product((None, "on", "off"), (None, "off"), (None, "on", "off"), (None, "on")):
            yield cls(main, host, others, section, "managed", ssl)
        yield from (cls(main, None, None, section, "static", None) for section in (None, "on", "off"))

    @property
    def name(self) -> str:
        return "-".join(each or "unset" for each in (self.kind, self.host, self.others, self.section, self.ssl)) + ".example.org"

    def is_ours(self, obeys_sections: bool) -> bool:
        """The rule of docs/directives.md. The C module does not obey `off` in a section where the host says `on`."""
        of_host = (self.host or self.main) == "on" and self.others != "off"
        if self.kind == "own":
            return of_host
        if self.section and (obeys_sections or self.section == "on"):
            return self.section == "on"
        return of_host or (self.section or self.main) == "on"

    def staple(self, obeys_sections: bool) -> str | None:
        """Ours is good. mod_ssl asks another responder, which says revoked."""
        return "good" if self.is_ours(obeys_sections) else "revoked" if self.ssl == "on" else None

    def configure(self, httpd: Httpd, leaf: Leaf) -> None:
        said = (("SSLUseStapling", self.ssl), ("MDStapling", self.host), ("MDStapleOthers", self.others))
        host = tuple(f"{directive} {value}" for directive, value in said if value)
        section = (f"MDStapling {self.section}",) if self.section else ()
        if self.kind == "own":
            httpd.config.https(self.name, *host, *_own(leaf))
        else:
            {"managed": _managed, "static": _static}[self.kind](httpd, leaf, *section, host=host)


def _who_staples(world: World) -> dict[str, dict[str, str | None]]:
    """Two servers with all switches, without and with `MDStapling on` for the whole server."""
    ca = world.pki.ca().intermediate("Issuer")
    ours, others, httpd = world.responder(ca), world.responder(ca), world.httpd()
    seen: dict[str, dict[str, str | None]] = {}
    leaves = {each.name: ca.leaf(each.name, ocsp_url=ours.url) for each in Switches.all(None)}
    for leaf in leaves.values():
        ours.says(leaf)
        others.says(leaf, "revoked")
    # mod_ssl's word on what the other responder says.
    httpd.log.expects("AH02969")
    for main in (None, "on"):
        httpd.config.clear().add("MDRenewMode manual", f"SSLStaplingCache shmcb:{world.sandbox.run}/staples(512000)")
        httpd.config.add(f"SSLStaplingForceURL {others.url}", *([f"MDStapling {main}"] if main else []))
        rows = list(Switches.all(main))
        for row in rows:
            row.configure(httpd, leaves[row.name])
        httpd.start()
        expected = {row.name: row.staple(world.module.is_ours) for row in rows}

        def is_as_expected(expected: dict[str, str | None] = expected, key: str = main or "unset") -> bool:
            seen[key] = _staples(httpd, list(expected))
            return seen[key] == expected

        httpd.wait(is_as_expected, what=f"staples with {main or 'no'} MDStapling")
        httpd.stop()
    return seen


def test_who_staples_is_as_with_the_c_module() -> None:
    """`SSLUseStapling`, `MDStapling` and `MDStapleOthers`, for certificates of domains and of others."""
    rows = [*Switches.all(None), *Switches.all("on")]
    differ = [row for row in rows if row.staple(True) != row.staple(False)]
    assert {row.section for row in differ} == {"off"}
    Oracle("who_staples").both(_who_staples, {f"{row.main or 'unset'}.{row.name}": MD_ALSO_OFF for row in differ})


@pytest.mark.parametrize("ours", ["off", "on"])
def test_stapling_of_mod_ssl_leaves_placeholders_alone(httpd: Httpd, pebble: Pebble, world: World, ours: str) -> None:
    """Neither at a start nor in a handshake does mod_ssl log an error about a certificate that nobody can staple."""
    name, bare = "a.example.org", "b.example.org"
    cache = f"SSLStaplingCache shmcb:{world.sandbox.run}/staples(64000)"
    httpd.config.add(cache, "SSLUseStapling on", f"MDStapling {ours}", "MDActivation live", "MDPrivateKeys rsa2048 secp256r1")
    httpd.config.managed(name).add("MDRenewMode manual")
    httpd.start()
    assert httpd.served(name, status=True).staple is None and httpd.get(f"https://{name}/").status == 503

    # A host that gets the placeholder of another domain, as it misses its own by one letter.
    httpd.config.md("c.example.org").https(bare)
    httpd.log.expects("MD0055", "AH10045", "AH01909")
    httpd.graceful()
    assert httpd.served(bare, status=True).staple is None and httpd.get(f"https://{bare}/").status == 503
    assert httpd.log.count("AH10116") > 0
    assert not [line for line in httpd.log.lines if line.module == "ssl" and line.level == "error"]


PROVEN = {"good": "good", "no-end": "good", "delegated": "good", "revoked": "revoked"}
"""Hosts whose responders say something that can be stapled, and what."""

UNPROVEN = ("unknown", "expired", "future", "forged", "no-right", "another", "garbage", "error", "not-found", "dead")
"""Hosts whose responders say nothing of use, and `silent`, who does not even fail."""


SHARING = ("bare.example.org", "both.example.org", "off.example.org")
"""Hosts with the certificate of the `good` one."""


def _responders(world: World, ca: Ca, mutes: dict[str, Responder]) -> dict[str, Leaf]:
    """A certificate for each of these cases, with a responder to which it happens; `mutes` get those that can be talked to."""
    forger, day = world.pki.ca("Issuer"), timedelta(days=1)
    says: dict[str, dict[str, Any]] = {
        "good": {},
        "no-end": {"life": None},
        "delegated": {"signer": ca.leaf("responder.example.org", usage="ocsp")},
        "revoked": {"status": "revoked"},
        "unknown": {"status": "unknown"},
        "expired": {"age": 2 * day},
        "future": {"age": -day, "life": 2 * day},
        "forged": {"signer": forger},
        "no-right": {"signer": ca.leaf("responder.example.org")},
        "another": {"instead": ca.leaf("another.example.org")},
    }
    responder = mutes[""] = world.responder(ca)
    leaves = {case: ca.leaf(f"{case}.example.org", *SHARING, ocsp_url=responder.url) for case in says}
    for case, how in says.items():
        responder.says(leaves[case], **how)
    for case in ("garbage", "error", "not-found", "dead", "silent"):
        mutes[case] = world.responder(ca)
        leaves[case] = ca.leaf(f"{case}.example.org", ocsp_url=mutes[case].url)
    mutes["garbage"].says_raw(b"<html>Hello</html>")
    mutes["error"].says_raw(b"", 500)
    mutes["not-found"].says_raw(b"Not here", 404)
    mutes["dead"].stop()
    mutes["silent"].hangs()
    return leaves


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_a_proven_response_is_stapled_and_outlives_its_responder(lone_httpd: Httpd, world: World) -> None:
    httpd, mutes = lone_httpd, dict[str, Responder]()
    ca = world.pki.ca().intermediate("Issuer")
    leaves = _responders(world, ca, mutes)
    httpd.config.add("MDStapling on", "MDRetryDelay 1s")
    for case, leaf in leaves.items():
        httpd.config.https(f"{case}.example.org", *_own(leaf))
    good = leaves["good"]
    # mod_ssl does not know the issuer of this one and asks nobody for a staple.
    bare = [f"SSLCertificateFile {good.cert_file}", f"SSLCertificateKeyFile {good.key_file}"]
    httpd.config.https("bare.example.org", *bare).https("off.example.org", "MDStapling off", *_own(good))
    # A host with two certificates, each with a status of its own.
    rsa = ca.leaf("both.example.org", key="rsa2048", ocsp_url=mutes[""].url)
    mutes[""].says(rsa, "revoked")
    httpd.config.https("both.example.org", *_own(good), *_own(rsa))
    expected = {case: PROVEN.get(case) for case in leaves} | {"bare": "good", "off": None}

    def seen(**options: Any) -> dict[str, str | None]:
        staples = _staples(httpd, [f"{case}.example.org" for case in expected], **options)
        return {name.removesuffix(".example.org"): staple for name, staple in staples.items()}

    def failed(case: str) -> bool:
        return any(line.has("MD0031") and _serial(leaves[case]) in line.raw for line in httpd.log.lines)

    httpd.log.expects("MD0030", "MD0031")
    httpd.start()
    httpd.wait(lambda: all(failed(case) for case in UNPROVEN), what="failures")
    httpd.wait(lambda: _stored(httpd.sandbox) == len(PROVEN) + 1, what="responses")
    assert all(httpd.log.count(number) for number in ("AH10197", "AH10198", "AH10199"))
    # Children learn of what one of them has fetched.
    httpd.wait(lambda: seen(tls="1.2") == seen(tls="1.3") == expected, what="staples")
    by_key = {"ECDSA+SHA256": "good", "RSA-PSS+SHA256": "revoked"}
    for tls in ("1.2", "1.3"):
        httpd.wait(lambda tls=tls: {key: _both(httpd, tls, key) for key in by_key} == by_key, what="staples")  # type: ignore[misc]
    assert {(each.method, each.nonce) for each in mutes[""].asked_for(good)} == {("GET", None)}

    mutes["garbage"].says(leaves["garbage"])
    expected["garbage"] = "good"
    httpd.wait(lambda: seen() == seen() == seen() == expected, what="staples of all children")
    for responder in mutes.values():
        responder.stop()
    httpd.graceful()
    assert seen() == expected
    httpd.stop()
    httpd.start()
    assert seen(tls="1.2") == expected


def _both(httpd: Httpd, tls: str, sigalgs: str) -> str | None:
    return httpd.served("both.example.org", status=True, tls=tls, sigalgs=sigalgs).staple


def _serial(leaf: Leaf) -> str:
    """As messages have it."""
    return f"{leaf.certificate.x509.serial_number:X}"


def test_a_hundred_certificates_and_those_that_the_c_module_has_fetched(lone_httpd: Httpd, world: World) -> None:
    httpd, sandbox, ca = lone_httpd, world.sandbox, world.pki.ca().intermediate("Issuer")
    responder = world.responder(ca)
    leaves = [ca.leaf(f"h{number}.example.org", ocsp_url=responder.url) for number in range(100)]
    names = [leaf.certificate.names[0] for leaf in leaves]

    def configure(count: int) -> Httpd:
        httpd.config.clear().add("MDStapling on")
        for leaf in leaves[:count]:
            responder.says(leaf)
            httpd.config.https(leaf.certificate.names[0], *_own(leaf))
        return httpd

    configure(100).use(Module.named("system")).start().wait(lambda: _stored(sandbox) == 100, what="responses")
    httpd.stop()
    asked = len(responder.requests)
    httpd.use(world.module).start()
    assert set(_staples(httpd, names).values()) == {"good"}
    httpd.stop()

    # Hosts go, and their responses after a while.
    for path in sandbox.ocsp("other").glob("ocsp-*.json"):
        os.utime(path, (0, 0))
    configure(2).start()
    assert set(_staples(httpd, names[:2]).values()) == {"good"}
    assert (_stored(sandbox), len(responder.requests)) == (2, asked)
    httpd.stop()

    sandbox.remove_store()
    configure(100).start().wait(lambda: _stored(sandbox) == 100, what="responses")
    httpd.wait(lambda: set(_staples(httpd, names[::10]).values()) == {"good"}, what="staples")
    assert len(responder.requests) == asked + 100


def test_a_revoked_certificate_is_renewed_with_a_new_key(httpd: Httpd, pebble: Pebble, world: World) -> None:
    ca = world.pki.ca().intermediate("Issuer")
    responder = world.responder(ca)
    leaf = ca.leaf("a.example.org", key="rsa2048", ocsp_url=responder.url)
    responder.says(leaf, "revoked")
    calls = world.sandbox.writable("events") / "calls"
    command = world.sandbox.write("bin/message", f'#!/bin/sh\necho "$*" >>{calls}\n', 0o755)
    httpd.config.add("MDStapling on", f"MDMessageCmd {command}").http("a.example.org")
    _managed(httpd, leaf)
    httpd.log.expects("MD0030")
    httpd.start().wait_staged("a.example.org")
    httpd.wait(lambda: httpd.served("a.example.org", status=True).staple == "revoked", what="staple")
    assert httpd.log.count("AH10500")
    httpd.wait(lambda: _ocsp_status(httpd) == {"revoked"}, what="status")
    assert {line.split()[0] for line in calls.read_text().splitlines()} >= {"ocsp-renewed", "renewed"}
    httpd.graceful()
    served = httpd.served("a.example.org", status=True, ca=pebble.root)
    assert served.verified and served.staple is None
    assert served.leaf.x509.public_key() != leaf.certificate.x509.public_key()


def _ocsp_status(httpd: Httpd) -> set[str]:
    """OCSP status of the served certificates in md-status."""
    return {cert["ocsp"]["status"] for cert in httpd.md_status("a.example.org")["cert"].values() if "ocsp" in cert}


def test_there_is_no_work_and_no_noise_without_responders_but_for_those_who_insist(lone_httpd: Httpd, world: World) -> None:
    httpd, ca = lone_httpd, world.pki.ca().intermediate("Issuer")
    plain, insists = ca.leaf("plain.example.org"), ca.leaf("insists.example.org", must_staple=True)
    off = ca.leaf("off.example.org", must_staple=True, ocsp_url="http://127.0.0.1:1/")
    httpd.config.add("MDStapling on")
    _static(httpd, plain)
    _static(httpd, insists, "MDMustStaple on")
    _static(httpd, off, "MDMustStaple on", "MDStapling off")
    httpd.log.expects("MD0033")
    httpd.start()
    assert _staples(httpd, ["plain.example.org", "insists.example.org", "off.example.org"], tls="1.3").values()
    told = {name for line in httpd.log.lines if line.has("MD0033") for name in ("plain", "insists", "off") if f"{name}.example.org" in line.raw}
    assert told == {"insists", "off"}
    assert httpd.log.count("has no OCSP responder URL") and not httpd.log.count("AH10197")
    assert not any(each.name.startswith("md-") for proc in httpd.children() for each in process.threads(proc.pid))
    httpd.graceful()
