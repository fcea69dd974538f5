"""MDPreferredChain: which of the chains that the CA offers is taken."""

from __future__ import annotations

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble

pytestmark = pytest.mark.module("ours")

NAMES = ["a.example.org", "b.example.org", "c.example.org"]


@pytest.mark.pebble(alternate_roots=2, chain_length=2)
def test_the_preferred_chain_is_served_and_without_it_the_default(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.managed(NAMES[0])
    httpd.start().obtain(NAMES[0])
    roots = {root.common_name: root for root in pebble.roots()}
    default, _, other = roots
    assert not [asked for asked in pebble.requests("/certZ/") if "/alternate/" in asked]

    httpd.config.add(f'MDPreferredChain "{other}"').managed(NAMES[1])
    httpd.config.md_set(NAMES[2], 'MDPreferredChain "No such root"').http(NAMES[2]).https(NAMES[2])
    httpd.log.expects("MD0046")
    httpd.graceful().obtain(*NAMES[1:])
    lines = httpd.log.find("MD0046")
    assert len(lines) == 1
    assert all(f"'{name}'" in lines[0].text for name in ["No such root", *roots])

    for name, root in zip(NAMES, (default, other, default), strict=True):
        file = httpd.sandbox.write(f"{name}-root.pem", roots[root].pem)
        served = httpd.served(name, ca=file)
        assert served.verified, (name, root)
        assert len(served.chain) == 3
        assert served.chain[-1].x509.issuer == roots[root].x509.subject
    assert httpd.md_status(NAMES[1])["preferred-chain"] == other
