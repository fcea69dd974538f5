"""Certificates that handshakes decode (`MDLazyCertificates`): clients see what they see when mod_ssl reads all files at a start."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from harness.httpd import Httpd
from harness.live import LiveSets
from harness.memory import holds
from harness.ocsp import Responder
from harness.pki import Leaf, Pki
from harness.sandbox import Sandbox
from harness.tls import Client, HandshakeFailed
from harness.world import World

pytestmark = pytest.mark.module("ours")

FIRST, SECOND, RSA, STAPLED, OTHERS = (f"{name}.example.org" for name in ("first", "second", "rsa", "stapled", "others"))
SIGALGS = {"any": None, "rsa": "RSA-PSS+SHA256:RSA+SHA256", "ec": "ECDSA+SHA256:ECDSA+SHA384"}
CLIENTS = {"1.2 with tickets": ("1.2", True), "1.2 with ids": ("1.2", False), "1.3": ("1.3", True)}
WAYS = {"on": "for 4 TLS hosts, and by mod_ssl at the start for 1", "off": ""}


class Hosts:
    """A server with managed hosts of many kinds, whose certificates are in the store."""

    def __init__(self, httpd: Httpd, pki: Pki, responder: Responder) -> None:
        self.httpd, self.responder = httpd, responder
        responder.ca = pki.ca().intermediate("Lazy CA")
        responder.says_of_others("good", life=timedelta(days=1))
        sets, leaf = LiveSets(httpd), responder.ca.leaf
        self.leaves: dict[str, list[Leaf]] = {
            FIRST: [leaf(FIRST, key="rsa2048"), leaf(FIRST, key="p384")],
            SECOND: [leaf(SECOND)],
            RSA: [leaf(RSA, key="rsa2048")],
            STAPLED: [leaf(STAPLED, ocsp_url=responder.url)],
            OTHERS: [leaf(OTHERS, ocsp_url=responder.url)],
        }
        for name, leaves in self.leaves.items():
            sets.install(name, *leaves)

    def configure(self, lazy: str, *lines: str) -> None:
        config = self.httpd.config.clear()
        config.add(f"MDLazyCertificates {lazy}", "MDRenewMode manual", "AcceptFilter http none", "KeepAliveTimeout 60", *lines)
        config.add("<Location /asks>", "SSLVerifyClient optional_no_ca", "</Location>", f"Alias /asks {self.httpd.sandbox.docs}/{FIRST}")
        config.add('Header always set X-Serial "%{SSL_SERVER_M_SERIAL}s"', 'Header always set X-Subject "%{SSL_SERVER_S_DN}s"')
        config.load("headers")
        if config.mpm != "prefork":
            config.load("http2").add("Protocols h2 http/1.1")
        config.md_set(FIRST, "MDPrivateKeys rsa2048 secp384r1").https(FIRST, "SSLProxyEngine on")
        config.md_set(SECOND, "MDPrivateKeys secp256r1").https(SECOND, "SSLProtocol TLSv1.2")
        config.md_set(RSA, "MDPrivateKeys rsa2048").https(RSA)
        config.md_set(STAPLED, "MDPrivateKeys secp256r1", "MDStapling on").https(STAPLED)
        config.md_set(OTHERS, "MDPrivateKeys secp256r1").https(OTHERS, "SSLCipherSuite DEFAULT:@SECLEVEL=1")

    @contextmanager
    def running(self, lazy: str, *lines: str) -> Iterator[Httpd]:
        self.configure(lazy, *lines)
        before = len(self.httpd.log.find("certificates are decoded at the first handshake"))
        self.httpd.start()
        told = self.httpd.log.find("certificates are decoded at the first handshake")[before:]
        assert [WAYS[lazy] in line.text for line in told] == ([True] if lazy == "on" else [])
        try:
            yield self.httpd
        finally:
            self.httpd.stop()


@pytest.fixture
def hosts(world: World, httpd: Httpd, pki: Pki) -> Hosts:
    return Hosts(httpd, pki, world.responder())


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_clients_see_what_they_see_with_certificates_that_mod_ssl_reads(hosts: Hosts, mpm: str) -> None:
    seen = {}
    for lazy in WAYS:
        with hosts.running(lazy) as httpd:
            httpd.wait(lambda: httpd.served(STAPLED, status=True).staple, what="staple")
            # New children read the response from the store.
            httpd.graceful()
            seen[lazy] = _handshakes(httpd) | _connections(httpd) | _requests(httpd)
    for what in seen["off"]:
        assert seen["on"][what] == seen["off"][what], what
    chains = {seen["on"]["handshake", FIRST, tls, kind][0] for tls in ("1.2", "1.3") for kind in ("rsa", "ec")}
    assert chains == {tuple(_chain(hosts, leaf)) for leaf in hosts.leaves[FIRST]}


def _chain(hosts: Hosts, leaf: Leaf) -> list[str]:
    assert hosts.responder.ca
    return [leaf.certificate.serial, *(ca.certificate.serial for ca in hosts.responder.ca.chain)]


def _handshakes(httpd: Httpd) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for name in (FIRST, SECOND, RSA, STAPLED, OTHERS, "unknown.example.org", None):
        for tls in ("1.2", "1.3"):
            for kind, sigalgs in SIGALGS.items():
                try:
                    served = httpd.served(name, tls=tls, sigalgs=sigalgs, status=True, alpn="h2,http/1.1")
                except HandshakeFailed:
                    seen["handshake", name, tls, kind] = None
                else:
                    lines = ("Cipher is", "Peer signature type", "Acceptable client certificate", "Server Temp Key", "Peer Temp Key")
                    facts = sorted(line.strip() for line in served.text.splitlines() if any(words in line for words in lines))
                    chain = tuple(each.serial for each in served.chain)
                    seen["handshake", name, tls, kind] = (chain, served.alpn, served.staple, facts)
    return seen


def _connections(httpd: Httpd) -> dict[Any, Any]:
    """Resumption, renegotiation and authentication after the handshake."""
    seen: dict[Any, Any] = {}
    for kind, how in CLIENTS.items():
        client = httpd.client(*how)
        first = client.connect(FIRST)
        page = first.get()
        again = client.connect(FIRST, first.session)
        seen["again", kind] = (page, again.resumed, again.get(), first.leaf == again.leaf)
        seen["asks", kind] = (first.get("/asks/"), first.get())
        other = client.connect(RSA, first.session)
        seen["another host", kind] = (other.resumed, other.leaf.serial, other.get())
        for connection in (first, again, other):
            connection.close()
    return seen


def _requests(httpd: Httpd) -> dict[Any, Any]:
    answers = {name: httpd.get(f"https://{name}/") for name in (FIRST, RSA, STAPLED)}
    seen: dict[Any, Any] = {
        ("variables", name): (answer.status, answer.headers["X-Serial"] in _serials(httpd, name), answer.headers["X-Subject"])
        for name, answer in answers.items()
    }
    if httpd.config.mpm != "prefork":
        seen["h2"] = httpd.get_h2(f"https://{FIRST}/").status
    return seen


def _serials(httpd: Httpd, name: str) -> list[str]:
    return [httpd.served(name, tls="1.2", sigalgs=sigalgs).leaf.serial for sigalgs in SIGALGS.values() if _serves(httpd, name, sigalgs)]


def _serves(httpd: Httpd, name: str, sigalgs: str | None) -> bool:
    try:
        httpd.served(name, tls="1.2", sigalgs=sigalgs)
    except HandshakeFailed:
        return False
    return True


@pytest.mark.parametrize("policy", ["strict", "secure", "authonly", "insecure"])
def test_hosts_are_compared_by_the_names_of_their_files(hosts: Hosts, policy: str) -> None:
    if policy in ("strict", "secure"):
        hosts.httpd.log.expects("AH02032")
    seen = {}
    for lazy in WAYS:
        with hosts.running(lazy, f"SSLVHostSNIPolicy {policy}") as httpd:
            seen[lazy] = [_crossing(httpd.client(tls), FIRST, name) for tls in ("1.2", "1.3") for name in (RSA, STAPLED, FIRST)]
    assert seen["on"] == seen["off"]


def _crossing(client: Client, name: str, other: str) -> int:
    """The status of a request for another host than the handshake was with."""
    context = ssl._create_unverified_context()
    context.minimum_version = context.maximum_version = client._context.minimum_version
    with socket.create_connection(("127.0.0.1", client._port), 30) as plain, context.wrap_socket(plain, server_hostname=name) as secure:
        secure.sendall(f"GET / HTTP/1.1\r\nHost: {other}\r\nConnection: close\r\n\r\n".encode())
        return int(secure.recv(4096).split()[1])


def test_damaged_certificates_are_found_at_the_start_and_by_a_reload(hosts: Hosts, sandbox: Sandbox) -> None:
    key = sandbox.domains(RSA) / "privkey.pem"
    right = key.read_text()
    key.write_text((sandbox.domains(FIRST) / "privkey.pem").read_text())
    hosts.httpd.log.expects("AH10110")
    hosts.configure("on")
    httpd = hosts.httpd.start()
    assert httpd.log.find("AH10110")[-1].has("private key(rsa) does not fit the certificate")
    assert [httpd.get(f"https://{name}/").status for name in (RSA, FIRST)] == [503, 200]
    key.write_text(right)
    httpd.graceful()
    assert httpd.get(f"https://{RSA}/").status == 200


def test_what_goes_live_takes_the_place_of_what_was_decoded(hosts: Hosts) -> None:
    httpd, sets = hosts.httpd, LiveSets(hosts.httpd)
    hosts.configure("on")
    httpd.config.add("MDActivation live")
    httpd.start()
    rsa, ec = hosts.leaves[FIRST]
    assert httpd.served(FIRST, sigalgs=SIGALGS["ec"]).leaf == ec.certificate
    assert hosts.responder.ca
    new = hosts.responder.ca.leaf(FIRST, key="p384")
    sets.publish(FIRST, new)
    sets.wait_for_all(FIRST, new)
    for tls in ("1.2", "1.3"):
        assert httpd.served(FIRST, tls=tls, sigalgs=SIGALGS["ec"]).leaf == new.certificate
        assert httpd.served(FIRST, tls=tls, sigalgs=SIGALGS["rsa"]).leaf == rsa.certificate


def test_keys_that_nobody_asked_for_are_in_no_core_file_and_go_with_the_configuration(hosts: Hosts) -> None:
    hosts.configure("on")
    httpd = hosts.httpd.start()
    parent = httpd.parent
    assert parent
    for leaf in (*hosts.leaves[FIRST], *hosts.leaves[STAPLED]):
        assert holds(parent.pid, leaf.key, "r") and not holds(parent.pid, leaf.key)
    httpd.config.clear().add("MDRenewMode manual").managed(SECOND)
    httpd.graceful()
    for proc in (parent, *httpd.children()):
        assert not any(holds(proc.pid, leaf.key, "r") for leaf in (*hosts.leaves[FIRST], *hosts.leaves[STAPLED])), proc


def test_mod_ssls_own_stapling_has_nothing_to_say(hosts: Hosts) -> None:
    """Hosts that mod_ssl staples for go mod_ssl's way, and the certificate that no client sees is passed over."""
    hosts.configure("on", "SSLUseStapling on", "SSLStaplingCache shmcb:logs/staples(128000)", "MDStapling on")
    hosts.httpd.config.load("socache_shmcb")
    httpd = hosts.httpd.start()
    httpd.wait(lambda: httpd.served(STAPLED, status=True).staple == "good", what="staple")
    assert not httpd.log.find("AH02217") and not httpd.log.find("AH02604")


@pytest.mark.parametrize("mpm", ["event"])
def test_a_hundred_reloads_change_nothing(hosts: Hosts, mpm: str) -> None:
    hosts.configure("on")
    httpd = hosts.httpd.start()
    sizes = []
    for number in range(100):
        httpd.graceful()
        if number % 20 == 19:
            assert httpd.get(f"https://{FIRST}/").status == 200
            assert httpd.parent
            sizes.append(_resident(httpd.parent.pid))
    assert sizes[-1] - sizes[1] < 1000, f"the parent grows: {sizes} KB"


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
