"""Hosts of managed domains that still have SSLCertificateFile: who is served, to which clients, and when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from harness.httpd import Httpd
from harness.live import LiveSets
from harness.module import Module
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.pki import Ca, Leaf, Pki
from harness.tls import HandshakeFailed
from harness.world import World

FILES = {"rsa": "rsa2048", "ec": "p256", "expired": "rsa2048", "other": "rsa2048"}
"""Certificate in the file of a host, and its key type: expired ones and those for another name are RSA."""
MANAGED = {"rsa": ["rsa2048"], "ec": ["p384"], "both": ["rsa2048", "p384"]}
RSA, EC = "RSA-PSS+SHA256:RSA+SHA256", "ECDSA+SHA256:ECDSA+SHA384"
CLIENTS: dict[str, dict[str, Any]] = {
    "any": {},
    "tls 1.2": {"tls": "1.2"},
    "rsa only": {"sigalgs": RSA},
    "ecdsa only": {"sigalgs": EC},
}
MORE_CLIENTS = CLIENTS | {f"{kind}, tls 1.2": {**CLIENTS[kind], "tls": "1.2"} for kind in ("rsa only", "ecdsa only")}
STRICT = "strict.example.org"
"""A host that takes no RSA keys of the usual length."""

STATIC = "static.example.org"
"""A host whose domain has MDCertificateFile."""

Table = dict[str, dict[str, dict[str, str]]]


def _types(keys: list[str]) -> str:
    return " ".join("secp384r1" if key == "p384" else key for key in keys)


def _lines(leaf: Leaf) -> list[str]:
    return [f"SSLCertificateFile {leaf.chain_file}", f"SSLCertificateKeyFile {leaf.key_file}"]


class Matrix:
    """A server with a host for each pair of a file and a managed set, and who its clients meet there."""

    def __init__(self, world: World, *lines: str) -> None:
        self.httpd = httpd = world.httpd()
        self.sets = LiveSets(httpd)
        self.files, self.cas = world.pki.ca("Files").intermediate("Issuer of files"), world.pki.ca("Managed").intermediate("Issuer of sets")
        self.own: dict[str, Leaf] = {}
        self._owner: dict[str, str] = {}
        self._generation = 0
        httpd.config.add("MDRenewMode manual", *lines)
        for file, key in FILES.items():
            for managed in MANAGED:
                name = f"{file}-{managed}.example.org"
                self.host(name, MANAGED[managed], self.file("elsewhere.example.net" if file == "other" else name, key, file == "expired"))
        # mod_ssl says which certificates are for another name.
        httpd.log.expects("AH01909")

    def file(self, name: str, key: str, expired: bool = False) -> Leaf:
        return self.files.leaf(name, key=key, not_before=datetime.now(UTC) - timedelta(days=100) if expired else None)

    def host(self, name: str, keys: list[str], file: Leaf, *lines: str, files: Callable[[Leaf], list[str]] = _lines) -> None:
        self.httpd.config.md_set(name, f"MDPrivateKeys {_types(keys)}")
        self.own_host(name, file, *files(file), *lines)

    def own_host(self, name: str, file: Leaf, *lines: str) -> None:
        """A host alone, with lines that name its file."""
        self.own[name] = file
        self._owner[file.certificate.serial] = "file"
        self.httpd.config.https(name, *lines)

    def new(self, name: str, keys: list[str]) -> list[Leaf]:
        """Another generation of a domain's certificates."""
        self._generation += 1
        begin = datetime.now(UTC) + timedelta(seconds=self._generation - 3600)
        leaves = [self.cas.leaf(name, key=key, not_before=begin) for key in keys]
        # Former ones are nobody's any more.
        self._owner = {serial: owner for serial, owner in self._owner.items() if owner != f"managed {name}"}
        self._owner |= {leaf.certificate.serial: f"managed {name}" for leaf in leaves}
        return leaves

    def new_sets(self) -> dict[str, list[Leaf]]:
        return {name: self.new(name, keys) for file in FILES for managed, keys in MANAGED.items() if (name := f"{file}-{managed}.example.org")}

    def install(self, sets: dict[str, list[Leaf]]) -> None:
        """The next start finds them in the store."""
        for name, leaves in sets.items():
            self.sets.install(name, *leaves)

    def publish(self, sets: dict[str, list[Leaf]]) -> None:
        """Makes the sets go live."""
        for name, leaves in sets.items():
            self.sets.publish(name, *leaves)
        for name, leaves in sets.items():
            self.sets.wait_for_all(name, *leaves)

    def who(self, name: str, **client: Any) -> str:
        """`file` or `managed`: whose certificate is served, and with its issuer."""
        try:
            served = self.httpd.served(name, **client)
        except HandshakeFailed:
            return "nobody"
        owner = self._owner[served.leaf.serial]
        assert owner in ("file", f"managed {name}"), (name, owner)
        issuer = self.files if owner == "file" else self.cas
        assert served.chain[1:] == [issuer.certificate], (name, client, served.text)
        return owner.split()[0]

    def table(self, clients: dict[str, dict[str, Any]] = CLIENTS) -> Table:
        def row(name: str) -> dict[str, str]:
            return {kind: self.who(name, **client) for kind, client in clients.items()}

        return {file: {managed: row(f"{file}-{managed}.example.org") for managed in MANAGED} for file in FILES}


def _expected(has_sets: bool, clients: dict[str, dict[str, Any]] = CLIENTS) -> Table:
    def row(file: str, managed: str) -> dict[str, str]:
        by_key = {"ecdsa" if FILES[file] == "p256" else "rsa": "file"}
        if has_sets:
            kept = by_key if file in ("rsa", "ec") else {}
            by_key = kept | {"rsa" if key == "rsa2048" else "ecdsa": "managed" for key in MANAGED[managed]}
        # Whoever takes both types prefers ECDSA.
        either = by_key.get("ecdsa") or by_key["rsa"]
        return {kind: by_key.get(kind.split()[0], "nobody") if "only" in kind else either for kind in clients}

    return {file: {managed: row(file, managed) for managed in MANAGED} for file in FILES}


def test_a_file_is_served_until_the_domain_has_a_set_and_then_for_other_types_of_key() -> None:
    def case(world: World) -> dict[str, Any]:
        matrix = Matrix(world)
        [leaf] = matrix.new(STATIC, ["p384"])
        matrix.httpd.config.md_set(STATIC, f"MDCertificateFile {leaf.chain_file}", f"MDCertificateKeyFile {leaf.key_file}")
        matrix.own_host(STATIC, file := matrix.file(STATIC, "p256"), *_lines(file))
        matrix.httpd.start()
        before = matrix.table()
        matrix.install(matrix.new_sets())
        matrix.httpd.restart()
        return {"before": before, "after a restart": matrix.table(), "MDCertificateFile": matrix.who(STATIC)}

    unfit = "C serves a file also if it has expired or is for another name"
    both = Oracle("own_files").both(case, {f"after a restart.{file}.ec.rsa only": unfit for file in ("expired", "other")})
    assert both == {"before": _expected(False), "after a restart": _expected(True), "MDCertificateFile": "managed"}


@pytest.mark.module("ours")
def test_a_set_that_goes_live_takes_the_place_of_a_file(world: World) -> None:
    matrix = Matrix(world, "MDActivation live")
    httpd = matrix.httpd
    matrix.host(STRICT, ["rsa2048"], matrix.file(STRICT, "p384"), "SSLCipherSuite HIGH:@SECLEVEL=3")
    httpd.start()
    assert matrix.table() == _expected(False)
    matrix.publish(matrix.new_sets())
    assert matrix.table(MORE_CLIENTS) == _expected(True, MORE_CLIENTS)
    # The next start moves it to where C has it too; what goes live then has something of the domain to replace.
    httpd.restart()
    assert matrix.table(MORE_CLIENTS) == _expected(True, MORE_CLIENTS)
    matrix.publish(matrix.new_sets())
    assert matrix.table() == _expected(True)

    assert matrix.who(STRICT) == "file"
    httpd.log.expects("MD0040")
    matrix.publish({STRICT: matrix.new(STRICT, ["rsa2048"])})
    assert {matrix.who(STRICT, tls=tls) for tls in ("1.2", "1.3")} == {"file"}


@pytest.mark.module("ours")
def test_a_file_is_served_no_longer_than_it_is_good(world: World) -> None:
    matrix = Matrix(world)
    clock = world.clock(matrix.httpd)
    matrix.install(matrix.new_sets())
    matrix.httpd.start()
    assert [matrix.who("rsa-ec.example.org", sigalgs=keys) for keys in (RSA, EC)] == ["file", "managed"]
    clock.shift(days=91)
    for tls in ("1.2", "1.3"):
        assert [matrix.who("rsa-ec.example.org", sigalgs=keys, tls=tls) for keys in (RSA, EC)] == ["nobody", "managed"]


@pytest.mark.module("ours")
@pytest.mark.parametrize("mode", ["restart", "live"])
def test_files_may_be_written_in_any_way(world: World, mode: str) -> None:
    matrix = Matrix(world, f"MDActivation {mode}")
    httpd, issuer = matrix.httpd, matrix.files.cert_file

    def together(leaf: Leaf) -> list[str]:
        both = world.sandbox.write(f"{leaf.certificate.names[0]}.pem", leaf.chain_file.read_text() + leaf.key_file.read_text())
        return [f"SSLCertificateFile {both}"]

    def apart(leaf: Leaf) -> list[str]:
        return [f"SSLCertificateFile {leaf.cert_file}", f"SSLCertificateKeyFile {leaf.key_file}", f"SSLCertificateChainFile {issuer}"]

    def with_a_key_too_many(leaf: Leaf) -> list[str]:
        return [*_lines(leaf), f"SSLCertificateKeyFile {leaf.key_file}"]

    names = {f"{way.__name__.replace('_', '-')}.example.org": way for way in (together, apart, with_a_key_too_many)}
    for name, way in names.items():
        matrix.host(name, ["rsa2048", "p384"], matrix.file(name, "rsa2048"), files=way)
    httpd.start()
    assert {matrix.who(name) for name in names} == {"file"}
    put = matrix.publish if mode == "live" else matrix.install
    put({name: matrix.new(name, ["rsa2048", "p384"]) for name in names})
    if mode == "restart":
        httpd.graceful()
    assert {matrix.who(name, sigalgs=keys) for name in names for keys in (RSA, EC)} == {"managed"}


@pytest.mark.module("ours")
def test_the_log_says_once_per_start_which_lines_can_go(world: World) -> None:
    matrix = Matrix(world)
    httpd = matrix.httpd
    httpd.start()

    def said(host: str) -> list[str]:
        name = f"{host}.example.org"
        return [line.text for line in httpd.log.find("MD0007") if f"{name} ({matrix.own[name].chain_file};" in line.text]

    assert {line.level for line in httpd.log.find("MD0007")} == {"notice"}
    [waits] = said("rsa-rsa")
    assert "until the Managed Domain has a certificate" in waits
    matrix.install(matrix.new_sets())
    httpd.restart()
    for host, phrase in {"rsa-both": "is not served any more", "other-ec": "is not served any more", "rsa-ec": "MDPrivateKeys"}.items():
        [_, now] = said(host)
        assert phrase in now and "remove SSLCertificateFile and SSLCertificateKeyFile" in now
    assert not [line for line in httpd.log.find("MD0007") if "AH" in line.text]


@pytest.mark.parametrize("mode", ["restart", "graceful", "live"])
@pytest.mark.module("ours")
def test_what_a_distribution_brings_gets_a_trusted_page(httpd: Httpd, pebble: Pebble, pki: Pki, mode: str) -> None:
    name, localhost = "web.example.org", pki.ca("self").leaf("localhost", key="rsa2048")
    httpd.config.add(f"ServerName {name}", f"MDActivation {mode}", "MDActivationMinInterval 1s" if mode == "graceful" else "")
    # Without a ServerName it has the main server's.
    httpd.config.md(name).add(f"<VirtualHost _default_:{httpd.config.https_port}>", "SSLEngine on", *_lines(localhost), "</VirtualHost>")
    httpd.log.expects("AH01909")
    httpd.start()
    assert httpd.served(name).leaf == localhost.certificate or mode != "restart"
    if mode == "restart":
        httpd.obtain(name)
    httpd.wait(lambda: httpd.served(name, ca=pebble.root).verified, what="a trusted page")
    for tls in ("1.2", "1.3"):
        assert httpd.served(name, tls=tls, ca=pebble.root).verified
    assert httpd.served(None).names == [name]


@pytest.mark.module("ours")
@pytest.mark.pebble(authz_reuse=0)
@pytest.mark.parametrize("mode", ["restart", "live"])
def test_challenges_in_handshakes_win_over_files_and_sets(httpd: Httpd, pebble: Pebble, pki: Pki, mode: str) -> None:
    ca, seen = pki.ca("Files"), set[str]()
    clients = {
        f"{file}-tls{tls[-1]}.example.org": (file, {"tls": tls, "sigalgs": {"p256": RSA, "rsa2048": EC}[file]})
        for file in ("p256", "rsa2048")
        for tls in ("1.2", "1.3")
    }
    files = {name: ca.leaf(name, key=file) for name, (file, _) in clients.items()}

    def configure(alias: str) -> None:
        httpd.config.clear().add(f"MDActivation {mode}", "MDCAChallenges tls-alpn-01", "Protocols http/1.1 acme-tls/1")
        for name, (file, client) in clients.items():
            httpd.config.md_set(name, f"MDPrivateKeys {'rsa2048' if file == 'p256' else 'secp256r1'}")
            httpd.config.https(name, f"SSLProtocol -all +TLSv{client['tls']}", *_lines(files[name]), aliases=[f"{alias}.{name}"])

    def is_new(name: str) -> bool:
        try:
            serial = httpd.served(name, **clients[name][1], ca=pebble.root).leaf.serial
        except HandshakeFailed:
            # The file is of the other type of key.
            return False
        return serial not in seen and not seen.add(serial)  # type: ignore[func-returns-value]

    # The first are obtained beside the file only, the second beside both.
    for alias in ("www", "ftp"):
        configure(alias)
        if httpd.parent:
            httpd.graceful()
        else:
            httpd.start()
        if mode == "restart":
            httpd.obtain(*clients)
        for name, (_, client) in clients.items():
            httpd.wait(partial(is_new, name), what=f"another certificate for {name}")
            assert httpd.served(name, **client, ca=pebble.root).verified


@pytest.mark.module("ours")
@pytest.mark.parametrize("mode", ["restart", "live"])
def test_the_staple_is_that_of_the_certificate_that_is_served(world: World, mode: str) -> None:
    name, httpd, responder = "a.example.org", world.httpd(), world.responder(ca := world.pki.ca().intermediate("Issuer"))
    file, managed = (ca.leaf(name, key=key, ocsp_url=responder.url) for key in ("rsa2048", "p384"))
    responder.says(file)
    responder.says(managed)
    httpd.config.add("MDStapling on", "MDRenewMode manual", f"MDActivation {mode}")
    httpd.config.md_set(name, "MDPrivateKeys secp384r1").https(name, *_lines(file))
    sets = LiveSets(httpd)

    def is_stapled(leaf: Leaf, client: dict[str, str]) -> bool:
        served = httpd.served(name, status=True, **client)
        assert served.leaf == leaf.certificate
        assert not served.staple or f"Serial Number: {leaf.certificate.serial}" in served.text
        return served.staple == "good"

    def check(**expected: Leaf) -> None:
        for keys, leaf in expected.items():
            for tls in ("1.2", "1.3"):
                client = {"tls": tls, "sigalgs": {"rsa": RSA, "ec": EC}[keys]}
                httpd.wait(partial(is_stapled, leaf, client), what=f"staple for {leaf.certificate}")

    httpd.start()
    check(rsa=file)
    if mode == "live":
        sets.publish(name, managed)
        sets.wait_for_all(name, managed)
    else:
        sets.install(name, managed)
        httpd.graceful()
    check(rsa=file, ec=managed)


def test_a_store_goes_from_the_c_module_to_ours_and_back_with_files_left(world: World) -> None:
    pebble = world.pebble(nonce_reject=0, authz_reuse=0)
    httpd = world.httpd(pebble).use(Module.named("system"))
    ca = world.pki.ca("Files")
    first, second = "first.example.org", "second.example.org"
    files = {name: ca.leaf(name, key="rsa2048") for name in (first, second)}
    httpd.config.add("MDPrivateKeys secp384r1")
    for name in (first, second):
        httpd.config.md(name).http(name).https(name, *_lines(files[name]))

    def served() -> dict[tuple[str, str], str]:
        return {(name, keys): httpd.served(name, sigalgs=keys).leaf.serial for name in (first, second) for keys in (RSA, EC)}

    httpd.start().obtain(first, second)
    with_c = served()
    assert {with_c[name, RSA] for name in files} == {leaf.certificate.serial for leaf in files.values()}
    assert all(httpd.served(name, ca=pebble.root).verified for name in files)
    orders = pebble.new_orders
    for name in ("ours", "system"):
        httpd.stop()
        httpd.use(Module.named(name)).start()
        assert served() == with_c
    assert pebble.new_orders == orders
