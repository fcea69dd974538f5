"""Accounts at the CA: which one is used, which are made, and who may read the keys of external ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.a2md import A2md
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = pytest.mark.module("ours")

NAME = "a.example.org"
ACME = "urn:ietf:params:acme:error:"
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


def test_a_first_account_is_said_with_its_ca_and_its_url(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME).managed("b.example.org")
    httpd.start().obtain(NAME, "b.example.org")
    [line] = httpd.log.find("MD0091")
    [account] = sandbox.account_ids()
    url = json.loads((sandbox.accounts(account) / "account.json").read_text())["url"]
    assert line.level == "notice"
    assert f"registered an account at {pebble.directory}: {url}" in line.text
    assert pebble.new_accounts == 1


def _account(sandbox: Sandbox) -> dict[str, Any]:
    [account] = sandbox.account_ids()
    return dict(json.loads((sandbox.accounts(account) / "account.json").read_text()))


def _without_contact(httpd: Httpd) -> None:
    httpd.config.defaults = [line for line in httpd.config.defaults if not line.startswith("MDContactEmail")]


@pytest.mark.parametrize("admin", [(), ("ServerAdmin webmaster@localhost",), ("ServerAdmin https://www.example.org/contact",)], ids=["none", "Debian", "URL"])
def test_without_a_contact_for_the_ca_the_account_has_none(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, admin: tuple[str, ...]
) -> None:
    _without_contact(httpd)
    httpd.config.add(*admin).managed(NAME)
    assert "MD0070" not in httpd.configtest().text
    httpd.start().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    assert (httpd.md_status(NAME)["contacts"], _account(sandbox).get("contact", [])) == ([], [])


def test_a_server_admin_whom_the_ca_refuses_is_left_out(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World
) -> None:
    gate = world.gate(pebble)
    refusal = gate.refuse("/sign-me-up", 400, {"type": f"{ACME}invalidContact", "detail": "no mail gets there"}, count=1)
    _without_contact(httpd)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "ServerAdmin admin@intranet").managed(NAME)
    httpd.start().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    [line] = httpd.log.find("MD0091")
    says = f"(no mail gets there <{ACME}invalidContact>)"
    assert f" without the contact 'mailto:admin@intranet' of ServerAdmin, which the CA refuses {says}" in line.text
    assert (refusal.given, pebble.new_accounts, _account(sandbox).get("contact", [])) == (1, 1, [])
    assert (httpd.md_status(NAME)["contacts"], httpd.md_status(NAME)["contacts-from"]) == (["mailto:admin@intranet"], "ServerAdmin")


def test_an_mdcontactemail_that_the_ca_refuses_is_said_with_value_and_place(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World
) -> None:
    gate = world.gate(pebble)
    gate.refuse("/sign-me-up", 400, {"type": f"{ACME}unsupportedContact", "detail": "mail only"}, count=1)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MDContactEmail tel:+12025551212").managed(NAME)
    httpd.log.expects("AH10056")
    httpd.start().wait_log("AH10056")
    [line] = httpd.log.find("AH10056")
    found = re.search(r"the CA refuses the contact 'tel:\+12025551212' \(MDContactEmail in (\S+):(\d+)\): mail only; correct MDContactEmail", line.text)
    assert found, line.text
    assert Path(found[1]).read_text().splitlines()[int(found[2]) - 1].strip() == "MDContactEmail tel:+12025551212"
    assert sandbox.job(NAME)["last"]["problem"] == f"{ACME}unsupportedContact"
    # A contact that is correct is tried at once.
    httpd.config.add("MDContactEmail admin@example.org")
    httpd.graceful().obtain(NAME)
    assert _account(sandbox)["contact"] == ["mailto:admin@example.org"]


def test_an_mdcontactemail_that_is_no_address_is_a_warning(httpd: Httpd) -> None:
    httpd.config.managed(NAME).add("MDContactEmail nobody", "MDRenewMode manual")
    httpd.log.expects("MD0070")
    checked = httpd.configtest()
    assert checked.ok
    assert re.search(r"MD0070: MDContactEmail 'mailto:nobody' in \S+:\d+: missing '@' in mail address; a CA may refuse", checked.text)
    httpd.start()
    assert httpd.log.count("MD0070") == 2, "by the test and by the start"


def test_an_account_that_the_ca_refuses_for_now_is_kept_and_one_that_has_ended_is_named(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World
) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}").managed(NAME)
    httpd.start().obtain(NAME)
    url = _account(sandbox)["url"]
    # Boulder says so for some seconds after a change of keys.
    gate.refuse("/my-account/", 400, {"type": f"{ACME}malformed", "detail": "JWS verification error"}, count=1)
    httpd.log.expects("AH10056")
    httpd.config.add(ALWAYS_DUE)
    httpd.graceful().wait_staged(NAME)
    [line] = httpd.log.find("AH10056")
    assert f"the CA refuses requests of account {url}: JWS verification error; the account stays in use" in line.text
    assert (httpd.log.count("MD0091"), pebble.new_accounts, _account(sandbox)["url"]) == (1, 1, url)

    httpd.stop()
    [account] = sandbox.account_ids()
    cli = A2md(sandbox, None, ("-C", pebble.trust))
    # Another client of the account has ended it.
    record = (sandbox.accounts(account) / "account.json").read_text()
    assert cli("acme", "deactivate", "--yes", account).code == 0
    sandbox.write(f"md/accounts/{account}/account.json", record)
    httpd.config.managed("b.example.org")
    httpd.start().wait_staged("b.example.org")
    httpd.log.expects("MD0023")
    line = httpd.log.find("MD0023")[-1]
    assert f" in place of {url}, which is given up (the CA says '" in line.text
    assert "deactivated" in line.text
    assert pebble.new_accounts == 2
