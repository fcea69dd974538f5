"""A CA that is unkind: it refuses every other nonce, or forgets everybody."""

from __future__ import annotations

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox


@pytest.mark.pebble(nonce_reject=50)
def test_half_of_the_nonces_refused_is_no_error(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    domains = [f"d{number}.example.org" for number in range(8)]
    httpd.config.add("MDPrivateKeys secp256r1").managed(*domains[:2])
    for domain in domains[2:]:
        httpd.config.managed(domain)
    names = [domains[0], *domains[2:]]
    httpd.start().wait_staged(*names)
    assert [sandbox.job(name)["errors"] for name in names] == [0] * len(names)
    httpd.graceful()
    assert all(httpd.served(name, ca=pebble.root).verified for name in domains)


@pytest.mark.pebble(profiles={"default": 60})
def test_a_ca_that_has_forgotten_everybody_gets_a_new_account(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    httpd.config.add("MDRenewWindow 99%", "MDPrivateKeys secp256r1").managed("a.example.org")
    httpd.start().obtain("a.example.org")
    before = sandbox.account_ids()
    first, registered = httpd.served("a.example.org").leaf, pebble.new_accounts

    httpd.log.expects("the CA no longer takes account")
    httpd.stop()
    pebble.restart()
    httpd.start().wait_staged("a.example.org")
    assert httpd.served("a.example.org").leaf == first, "the old certificate serves meanwhile"
    httpd.graceful()

    assert httpd.served("a.example.org", ca=pebble.root).leaf != first
    assert pebble.new_accounts == registered + 1
    assert len(sandbox.account_ids()) == len(before) + 1
    assert sandbox.md_json("a.example.org")["ca"]["account"] not in before
