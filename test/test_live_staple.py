"""Certificates that go live without a restart are stapled from their first handshake on."""

from __future__ import annotations

from datetime import timedelta
from itertools import cycle

import pytest

from harness.certificate import Certificate
from harness.httpd import Httpd
from harness.tls import Served
from harness.world import World

pytestmark = pytest.mark.module("ours")

PLAIN, INSISTS = "plain.example.org", "insists.example.org"


class Client:
    """Looks at the hosts of a server with both versions of TLS in turns, and remembers what it has seen."""

    def __init__(self, httpd: Httpd, issuer: Certificate) -> None:
        self.httpd, self.issuer, self.known = httpd, issuer.common_name, set[str]()
        self._versions = cycle(("1.2", "1.3"))

    def look(self, name: str) -> Served:
        return self.httpd.served(name, status=True, tls=next(self._versions))

    def first(self, name: str) -> Served:
        """The first handshake with a new certificate of the CA; while it waits, one that has to be stapled always is."""
        seen: list[Served] = []

        def is_new() -> bool:
            seen.append(self.look(name))
            is_issued = seen[-1].leaf.issuer == self.issuer
            assert not seen[-1].leaf.must_staple or seen[-1].staple, seen[-1].text
            return is_issued and seen[-1].leaf.serial not in self.known

        self.httpd.wait(is_new, what=f"a new certificate for {name}")
        self.known.add(seen[-1].leaf.serial)
        return seen[-1]


def test_what_goes_live_is_stapled_from_its_first_handshake_or_waits_if_it_has_to_be(world: World) -> None:
    responder = world.responder()
    pebble = world.pebble(ocsp_url=responder.url, key_algorithm="rsa")
    responder.ca = pebble.issuer()
    # The window opens after two seconds, so that responses are fetched often.
    short = {"age": timedelta(seconds=1), "life": timedelta(minutes=2)}
    responder.says_of_others("good", **short)
    httpd = world.httpd(pebble)
    httpd.config.add("MDActivation live", "MDStapling on", "MDStaplingRenewWindow 98%", "MDPrivateKeys secp256r1")
    httpd.config.managed(PLAIN).md_set(INSISTS, "MDMustStaple on").http(INSISTS).https(INSISTS)
    httpd.start()
    client = Client(httpd, responder.ca.certificate)

    # In place of placeholders, with both versions.
    plain, insists = client.first(PLAIN), client.first(INSISTS)
    assert (plain.staple, insists.staple, insists.leaf.must_staple) == ("good", "good", True)
    assert {client.look(name).staple for name in (PLAIN, INSISTS) for _ in range(2)} == {"good"}

    # Their responses are fetched again like others.
    httpd.wait(lambda: len([each for each in responder.requests if each.serial == insists.leaf.x509.serial_number]) > 2, what="fetches")

    # What is found to be revoked is renewed. While there is no response, only the one that can do without it goes live.
    httpd.log.expects("MD0030", "MD0031", "MD0037")
    responder.says_of_others(None).says(plain.leaf, "revoked", **short).says(insists.leaf, "revoked", **short)
    assert client.first(PLAIN).staple is None
    httpd.wait_log("MD0037", times=2)
    assert client.look(INSISTS).leaf == insists.leaf
    responder.says_of_others("good", **short)
    assert client.first(INSISTS).staple == "good"
    httpd.wait(lambda: client.look(PLAIN).staple == "good", what="the response that was missing")

    # A start finds them in the store.
    httpd.graceful()
    assert {client.look(name).staple for name in (PLAIN, INSISTS) for _ in range(2)} == {"good"}
