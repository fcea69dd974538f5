"""Accounts at the CA: which one is used, which are made, and who may read the keys of external ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox

pytestmark = pytest.mark.module("ours")

NAME = "a.example.org"
# More than a life, so that each start finds it due.
ALWAYS_DUE = "MDRenewWindow 100d"
# As the CA has it, and in the standard alphabet with padding, as some CAs show it.
KEY_C, KEY_C_SHOWN = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W_-A", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W/+A="
KEY_A, KEY_B = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W", "bm90IG11Y2ggb2YgYSBzZWNyZXQgYnV0IGxvbmcgZW5vdWdo"


def _holders(sandbox: Sandbox) -> list[Path]:
    """Files of the store that have a key of an external account."""
    files = (path for path in sandbox.store.rglob("*") if path.is_file())
    return [path for path in files if any(key.encode() in path.read_bytes() for key in (KEY_A, KEY_B))]


@pytest.mark.pebble(eab={"kid-a": KEY_A, "kid-b": KEY_B})
def test_each_external_account_is_bound_once(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    sandbox.write("b.json", json.dumps({"kid": "kid-b", "hmac": KEY_B}))
    bindings = [f"MDExternalAccountBinding kid-a {KEY_A}", "MDExternalAccountBinding b.json", f"MDExternalAccountBinding kid-a {KEY_A}"]
    serials = set()
    for binding in bindings:
        httpd.config.clear().add(ALWAYS_DUE, binding).managed(NAME)
        httpd.graceful() if httpd.running else httpd.start()
        httpd.wait_staged(NAME)
        readable = [path for path in _holders(sandbox) if path.stat().st_mode & 0o007]
        assert not readable, "keys of external accounts that everybody can read"
        httpd.config.add("MDRenewWindow 33%")
        httpd.graceful()
        served = httpd.served(NAME, ca=pebble.root)
        assert served.verified
        serials.add(served.leaf.serial)
        assert httpd.md_status(NAME)["eab"] == {"kid": binding.split()[1].replace("b.json", "kid-b"), "hmac": "***"}
    assert (len(serials), pebble.new_accounts, len(sandbox.account_ids())) == (3, 2, 2)
    assert any(path.is_relative_to(sandbox.accounts()) for path in _holders(sandbox))


@pytest.mark.pebble(eab={"kid-c": KEY_C})
def test_a_key_in_the_standard_alphabet_is_the_same_external_account(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    sandbox.write("c.json", json.dumps({"kid": "kid-c", "hmac": KEY_C_SHOWN}))
    for binding in (f"kid-c {KEY_C_SHOWN}", f"kid-c {KEY_C}", "c.json"):
        httpd.config.clear().add(ALWAYS_DUE, f"MDExternalAccountBinding {binding}").managed(NAME)
        assert httpd.configtest().ok
        httpd.graceful() if httpd.running else httpd.start()
        httpd.obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    assert (pebble.new_accounts, len(sandbox.account_ids())) == (1, 1)


def test_a_key_that_cannot_be_decoded_is_an_error_of_the_directive_or_of_the_file(httpd: Httpd, sandbox: Sandbox) -> None:
    sandbox.write("cut-off.json", json.dumps({"kid": "kid-a", "hmac": KEY_A[:-3]}))
    where = f"in file {sandbox.root}/cut-off.json"
    for binding, words in ((f"kid-a {KEY_A[:-3]}", "the MAC key of 'kid-a'"), ("cut-off.json", f"'hmac' element {where}")):
        httpd.config.clear().add(f"MDExternalAccountBinding {binding}").managed(NAME)
        for output in (httpd.configtest().text, httpd.fails_to_start()):
            assert f"MDExternalAccountBinding: {words} cannot be decoded" in output
            assert KEY_A[:20] not in output


@pytest.mark.pebble(eab={"kid-a": KEY_A})
def test_domains_with_and_without_an_external_account_have_different_ones(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    httpd.config.add(f"MDExternalAccountBinding kid-a {KEY_A}").managed(NAME)
    httpd.config.md_set("none.example.org", "MDExternalAccountBinding none").http("none.example.org").https("none.example.org")
    httpd.log.expects("AH10056", "externalAccountRequired")
    httpd.start().wait_staged(NAME)
    httpd.wait(lambda: httpd.md_status("none.example.org").get("renewal", {}).get("errors") == 1)
    assert "externalAccountRequired" in sandbox.job("none.example.org")["last"]["problem"]
    assert pebble.new_accounts == 1


@pytest.mark.pebble(eab={"kid-a": KEY_A})
def test_a_wrong_key_of_an_external_account_is_said_by_the_ca(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.add(f"MDExternalAccountBinding kid-a {KEY_B}").managed(NAME)
    httpd.log.expects("AH10056")
    httpd.start()
    httpd.wait(lambda: httpd.md_status(NAME).get("renewal", {}).get("errors") == 1)
    assert "urn:ietf:params:acme:error:" in sandbox.job(NAME)["last"]["problem"]
    assert sandbox.account_ids() == []


def test_a_new_account_is_said_as_a_warning_with_its_url(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME).managed("b.example.org")
    httpd.start().obtain(NAME, "b.example.org")
    [line] = httpd.log.find("MD0023")
    [account] = sandbox.account_ids()
    url = json.loads((sandbox.accounts(account) / "account.json").read_text())["url"]
    assert line.level == "warn"
    assert f"registered new account {url}:" in line.text
    assert pebble.new_accounts == 1
