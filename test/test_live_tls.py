"""Certificates that go live without a restart reach every kind of handshake, in every process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from harness.certificate import Certificate
from harness.httpd import Httpd
from harness.live import LiveSets
from harness.pebble import Pebble
from harness.pki import Ca, Leaf, Pki
from harness.sandbox import Sandbox
from harness.tls import Connection

pytestmark = pytest.mark.module("ours")

OLD, NEW = "old.example.org", "new.example.org"
"""A host that has certificates since the start, and one that begins with a placeholder."""
FILES, BOTH = "files.example.org", "both.example.org"
"""Hosts with an SSLCertificateFile: of no domain, and of one."""
RSA, EC = "RSA-PSS+SHA256", "ECDSA+SHA256:ECDSA+SHA384"
KINDS = {"rsa2048": RSA, "secp384r1": EC}
CLIENTS = {"1.2 with tickets": ("1.2", True), "1.2 with ids": ("1.2", False), "1.3": ("1.3", True)}


@dataclass
class Set:
    """A generation of a domain's certificates."""

    leaves: list[Leaf]

    @classmethod
    def of(cls, ca: Ca, name: str, generation: int) -> Set:
        begin = datetime.now(UTC) + timedelta(minutes=generation - 30)
        return cls([ca.leaf(name, key=key, not_before=begin) for key in ("rsa2048", "p384")])

    @property
    def served(self) -> dict[str, Certificate]:
        return {leaf.certificate.key_type: leaf.certificate for leaf in self.leaves}


class Live:
    """A server with all kinds of hosts, and sets for them."""

    def __init__(self, httpd: Httpd, ca: Ca) -> None:
        self.httpd, self.ca, self.sets = httpd, ca, LiveSets(httpd)
        self.current: dict[str, Set] = {}
        self._generation = 0
        self.clients = {kind: httpd.client(*how) for kind, how in CLIENTS.items()}
        self.start()

    def start(self) -> None:
        httpd, config = self.httpd, self.httpd.config
        self.current[OLD] = Set.of(self.ca, OLD, 0)
        self.sets.install(OLD, *self.current[OLD].leaves)
        config.add("MDActivation live", "MDRenewMode manual", "MDPrivateKeys rsa2048 secp384r1", "AcceptFilter http none")
        config.add('CustomLog logs/access "%P %{SSL_SERVER_M_SERIAL}x"', "KeepAliveTimeout 60", "Timeout 60")
        if config.mpm != "prefork":
            config.load("http2").add("Protocols h2 http/1.1")
        config.add("<Location /asks>", "SSLVerifyClient optional_no_ca", "</Location>", f"Alias /asks {httpd.sandbox.docs}/{OLD}")
        config.managed(OLD).managed(NEW)
        for name in (FILES, BOTH):
            self.current[name] = Set([self.ca.leaf(name)])
            leaf = self.current[name].leaves[0]
            config.https(name, f"SSLCertificateFile {leaf.chain_file}", f"SSLCertificateKeyFile {leaf.key_file}")
        config.md(BOTH)
        httpd.start()

    def publish(self, name: str, but: frozenset[int] = frozenset()) -> None:
        """Another generation; returns when all children serve it, but these."""
        self._generation += 1
        new = Set.of(self.ca, name, self._generation)
        self.sets.publish(name, *new.leaves)
        self.current[name] = new
        self.sets.wait_for_all(name, *new.leaves, but=but)

    def connections(self, name: str) -> dict[str, Connection]:
        """A connection of each kind of client."""
        return {kind: client.connect(name) for kind, client in self.clients.items()}

    def check(self, name: str) -> None:
        """Every version of TLS and every type of key gets the present certificates."""
        for tls in ("1.2", "1.3"):
            for kind, certificate in self.current[name].served.items():
                served = self.httpd.served(name, tls=tls, sigalgs=KINDS.get(kind), ca=self.ca.chain[-1].cert_file)
                assert (served.leaf, served.chain[1:]) == (certificate, [each.certificate for each in self.ca.chain]), (tls, kind)
        assert self.httpd.get(f"https://{name}/").text == name


@pytest.fixture
def live(lone_httpd: Httpd, pki: Pki) -> Iterator[Live]:
    yield Live(lone_httpd, pki.ca().intermediate("Live CA"))


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_every_kind_of_handshake_gets_the_new_certificates(live: Live, sandbox: Sandbox, mpm: str) -> None:
    httpd = live.httpd
    assert httpd.get(f"https://{NEW}/").status == 503
    trusted, placed, refused = (live.connections(name) for name in (OLD, NEW, NEW))
    # In TLS 1.3 a session comes with the first answer; the server closes after a 503.
    assert all(connection.get() == (200, OLD) for connection in trusted.values())
    assert all(connection.get()[0] == 503 for connection in refused.values())
    for kind, connection in trusted.items():
        again = live.clients[kind].connect(OLD, connection.session)
        assert again.resumed, kind
        again.close()
    silent = [live.clients[kind].dial() for kind in ("1.2 with ids", "1.3")]

    live.publish(OLD)
    live.publish(NEW)
    for name in (OLD, NEW):
        live.check(name)
        assert mpm == "prefork" or httpd.get_h2(f"https://{name}/").status == 200
    for tls in ("1.2", "1.3"):
        assert httpd.served(None, tls=tls).leaf in live.current[OLD].served.values()
    for name in (FILES, BOTH):
        for tls in ("1.2", "1.3"):
            assert httpd.served(name, tls=tls).leaf == live.current[name].leaves[0].certificate

    # A connection that was open goes on; the handshake of one that said nothing is a new one.
    for plain, kind in zip(silent, ("1.2 with ids", "1.3")):
        late = live.clients[kind].greet(plain, OLD)
        assert (late.leaf in live.current[OLD].served.values(), late.get()) == (True, (200, OLD))
        late.close()
    for kind, connection in trusted.items():
        assert connection.get() == (200, OLD)
        again = live.clients[kind].connect(OLD, connection.session)
        assert again.resumed or again.leaf in live.current[OLD].served.values(), kind
        assert again.get() == (200, OLD)
        again.close()
    # What began under the placeholder stays as it is, and nothing goes on with it.
    for kind, connection in placed.items():
        assert connection.get()[0] == 503
        for session in (connection.session, refused[kind].session):
            again = live.clients[kind].connect(NEW, session)
            assert (again.resumed, again.get()) == (False, (200, NEW)), kind
            again.close()

    # Renegotiation, and TLS 1.3's way to ask for a client's certificate.
    for kind, connection in trusted.items():
        before = connection.leaf
        assert (connection.get("/asks/"), connection.leaf, connection.get()) == ((200, OLD), before, (200, OLD)), kind
    begun = live.connections(OLD)
    former = live.current[OLD].served.values()
    live.publish(OLD)
    for kind, connection in begun.items():
        assert (connection.get("/asks/"), connection.leaf in former) == ((200, OLD), True), kind
    for connection in (*trusted.values(), *placed.values(), *refused.values(), *begun.values()):
        connection.close()


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_children_that_come_later_and_those_that_drain_serve_what_is_live(live: Live, sandbox: Sandbox, mpm: str) -> None:
    httpd = live.httpd
    httpd.config.add("MaxConnectionsPerChild 8")
    live.publish(OLD)
    waiting = [(client, client.dial()) for client in (live.clients["1.2 with ids"], live.clients["1.3"])]
    elder = frozenset(proc.pid for proc in httpd.children())

    httpd.graceful(draining=True)
    assert not (sandbox.store / "live" / OLD).exists()
    live.check(OLD)
    # Those that drain look when there is a handshake.
    for name in (OLD, NEW):
        live.publish(name, but=elder)
    for client, plain in waiting:
        connection = client.greet(plain, OLD)
        assert (connection.leaf in live.current[OLD].served.values(), connection.get()) == (True, (200, OLD))
        connection.close()
    present = [certificate.serial for certificate in live.current[OLD].served.values()]
    assert _servers(sandbox, present) & elder

    # The parent reads sets every ten seconds only; a child that it forks has to look for itself.
    known = {proc.pid for proc in httpd.children()} | elder

    def of_later_children() -> bool:
        connection = live.clients["1.3"].connect(OLD)
        assert connection.get() == (200, OLD)
        connection.close()
        return len(_servers(sandbox, present) - known) >= 2

    httpd.wait(of_later_children, what="later children")


def _servers(sandbox: Sandbox, serials: list[str]) -> set[int]:
    """The processes that have answered under these certificates."""
    lines = (line.split() for line in (sandbox.logs / "access").read_text().splitlines())
    return {int(line[0]) for line in lines if line[-1] in serials}


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_one_process_that_does_everything(httpd: Httpd, pebble: Pebble, mpm: str) -> None:
    httpd.foreground, httpd.arguments = True, ["-X"]
    httpd.config.add("MDActivation live", "MDPrivateKeys secp256r1").managed(OLD)
    httpd.start()
    assert httpd.get(f"https://{OLD}/").status == 503
    httpd.wait_log("MD0036")
    httpd.wait(lambda: httpd.get(f"https://{OLD}/").status == 200, what="page")
    assert httpd.get(f"https://{OLD}/", ca=pebble.root).text == OLD


KEYS = {"rsa2048": "rsa2048", "secp384r1": "p384"}
CHALLENGED = {"both": ["rsa2048", "secp384r1"], "rsa": ["rsa2048"], "ec": ["secp384r1"]}


def test_challenges_win_over_what_is_live_for_every_type_of_key(lone_httpd: Httpd, pki: Pki, sandbox: Sandbox) -> None:
    httpd, config = lone_httpd, lone_httpd.config
    ca, sets = pki.ca().intermediate("Live CA"), LiveSets(httpd)
    config.add("MDActivation live", "MDRenewMode manual", "MDCAChallenges tls-alpn-01", "Protocols http/1.1 acme-tls/1")
    for name, kinds in CHALLENGED.items():
        config.md_set(f"{name}.example.org", f"MDPrivateKeys {' '.join(kinds)}").https(f"{name}.example.org")
    httpd.start()

    for name, kinds in CHALLENGED.items():
        host = f"{name}.example.org"
        live = {kind: ca.leaf(host, key=KEYS[kind]) for kind in kinds}
        sets.publish(host, *live.values())
        sets.wait_for_all(host, *live.values())
        # There is data for both types, whatever the domain's are.
        challenges = {kind: ca.leaf(host, key=key) for kind, key in KEYS.items()}
        for kind, suffix in (("rsa2048", ""), ("secp384r1", ".secp384r1" if "secp384r1" in kinds else ".p-256")):
            sandbox.put_challenge(host, f"acme-tls-alpn-01-pubcert{suffix}.pem", challenges[kind].cert_file.read_text())
            sandbox.put_challenge(host, f"acme-tls-alpn-01-privkey{suffix}.pem", challenges[kind].key_file.read_text())
        for tls, algorithms in (("1.3", None), ("1.2", None), *(("1.2", KINDS[kind]) for kind in kinds)):
            served = httpd.served(host, tls=tls, sigalgs=algorithms, alpn="acme-tls/1")
            assert served.alpn == "acme-tls/1" and _is_one(served.leaf, challenges), (host, tls, algorithms)
            assert _is_one(httpd.served(host, tls=tls, sigalgs=algorithms, alpn="http/1.1").leaf, live), (host, tls, algorithms)


def _is_one(leaf: Certificate, leaves: dict[str, Leaf]) -> bool:
    return leaf in [each.certificate for each in leaves.values()]
