"""The same journeys with each ACME server of others: what is special about one of them is in docs/authorities.md."""

from __future__ import annotations

import json
import os
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from harness.a2md import A2md
from harness.authorities import AUTHORITIES
from harness.authority import KNOWN, REFUSED, REFUSED_ADDRESS, Authority
from harness.certificate import Certificate
from harness.dns import Dns
from harness.httpd import Httpd
from harness.python_authorities import BoundAcme2Certifier
from harness.sandbox import Sandbox

NAME, OTHER, ADDRESS, ELSEWHERE = "a.example.org", "b.example.org", "127.0.0.1", "127.0.0.98"
PROTOCOLS = "Protocols http/1.1 acme-tls/1"
COMMANDS = {
    "revocation": ["revoke", "{name}"],
    "key roll-over": ["acme", "rollover", "{account}"],
    "deactivation": ["acme", "deactivate", "{account}", "--yes"],
}
NOT_OFFERED = [(kind, feature) for kind in AUTHORITIES for feature in COMMANDS if feature in kind.lacks]
# More than a life: each start finds the domain due.
ALWAYS_DUE = "MDRenewWindow 1000d"


def _each(*values: str, needs: str) -> list[Any]:
    """Parameters of a test, each of which needs a feature."""
    return [pytest.param(value, marks=pytest.mark.needs(needs.format(value))) for value in values]


def _account(sandbox: Sandbox) -> str:
    """The only account of the store."""
    (account,) = sandbox.account_ids()
    return account


def _leaf(httpd: Httpd, authority: Authority, name: str = NAME) -> Certificate:
    """What the server serves for a name, which the CA has signed."""
    served = httpd.served(name, ca=authority.root)
    assert served.verified, served.text
    return served.leaf


def _problem(httpd: Httpd, name: str) -> str:
    """The problem in the report of a failed renewal, which is written after the log."""
    return str(httpd.wait(lambda: httpd.md_status(name)["renewal"].get("last", {}).get("problem"), what="report"))


# First certificates


def test_a_first_certificate_by_http_01(httpd: Httpd, authority: Authority) -> None:
    httpd.config.add("MDCAChallenges http-01", "MDPrivateKeys RSA").managed(NAME)
    httpd.start().obtain(NAME)
    assert _leaf(httpd, authority).names == [NAME]
    assert httpd.md_status(NAME)["ca"]["url"] == authority.directory


def test_a_first_certificate_by_tls_alpn_01(httpd: Httpd, authority: Authority) -> None:
    httpd.config.add("MDCAChallenges tls-alpn-01").md(NAME).https(NAME, PROTOCOLS)
    httpd.start().obtain(NAME)
    assert _leaf(httpd, authority).names == [NAME]


def test_types_of_keys(httpd: Httpd, authority: Authority) -> None:
    kinds = ["rsa3072", "secp384r1"]
    for keys in kinds:
        httpd.config.md_set(f"{keys}.example.org", f"MDPrivateKeys {keys}").http(f"{keys}.example.org").https(f"{keys}.example.org")
    httpd.start().obtain(*(f"{keys}.example.org" for keys in kinds))
    assert [_leaf(httpd, authority, f"{keys}.example.org").key_type for keys in kinds] == kinds


def test_many_names_in_one_certificate(httpd: Httpd, authority: Authority) -> None:
    names = sorted([NAME, *(f"n{number}.example.org" for number in range(12))])
    httpd.config.managed(*names)
    httpd.start().obtain(NAME)
    assert _leaf(httpd, authority).names == names


def test_a_name_and_its_wildcard_by_dns_01(httpd: Httpd, authority: Authority, dns: Dns) -> None:
    httpd.config.add("MDCAChallenges dns-01", f'MDChallengeDns01 "{dns.command()}"', "MDChallengeDns01Version 2")
    httpd.config.md(NAME, f"*.{NAME}").https(NAME, aliases=[f"*.{NAME}"])
    httpd.start().obtain(NAME)
    assert _leaf(httpd, authority, f"www.{NAME}").names == [f"*.{NAME}", NAME]
    assert [call[0] for call in dns.calls()] == ["setup", "setup", "teardown", "teardown"]


@pytest.mark.needs("accounts without a contact")
def test_an_account_has_no_contact(httpd: Httpd, authority: Authority) -> None:
    httpd.config.defaults = [line for line in httpd.config.defaults if not line.startswith("MDContactEmail")]
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME, limit=25)
    assert _leaf(httpd, authority).names == [NAME]


@pytest.mark.parametrize("challenge", _each("http-01", "tls-alpn-01", needs="addresses by {}"))
def test_an_address(httpd: Httpd, authority: Authority, challenge: str) -> None:
    httpd.config.add(f"MDCAChallenges {challenge}").md(ADDRESS).http(ADDRESS).https(ADDRESS, PROTOCOLS)
    # mod_ssl knows names of hosts only.
    httpd.log.expects("AH01909")
    httpd.start().obtain(ADDRESS, limit=25)
    # Not by a client of Python, which is stricter with the form of certificates from 3.13 on.
    served = httpd.served(None, ca=authority.root)
    assert served.verified and served.names == [ADDRESS], served.text


@pytest.mark.needs("dns-persist-01")
def test_a_record_that_stays_by_dns_persist_01(httpd: Httpd, authority: Authority, dns: Dns) -> None:
    httpd.config.add("MDCAChallenges dns-persist-01").md(NAME, f"*.{NAME}").https(NAME, aliases=[f"*.{NAME}"])
    httpd.log.expects("AH10056")
    httpd.start().wait_log("AH10056")
    (told,) = httpd.wait(lambda: httpd.md_status(NAME).get("txt-records"), what="the record to set")
    dns.set_txt(told["name"], told["value"])
    httpd.stop()
    httpd.start().obtain(NAME)
    assert _leaf(httpd, authority, f"www.{NAME}").names == [f"*.{NAME}", NAME]


@pytest.mark.needs("proven names")
def test_names_that_the_ca_takes_for_proven_need_no_challenge(httpd: Httpd, authority: Authority, dns: Dns) -> None:
    dns.set_a(KNOWN, REFUSED_ADDRESS)
    # The server has to be able to answer some type, and is never asked.
    httpd.config.add("MDPortMap 80:- 443:-", "MDCAChallenges dns-01", "MDChallengeDns01 /bin/false")
    httpd.config.md(KNOWN, f"*.{KNOWN}").https(KNOWN, aliases=[f"*.{KNOWN}"])
    httpd.start().obtain(KNOWN)
    assert _leaf(httpd, authority, f"www.{KNOWN}").names == [f"*.{KNOWN}", KNOWN]


@pytest.mark.parametrize("kind", [BoundAcme2Certifier], indirect=True, ids=lambda kind: kind.name)
def test_an_external_account_is_bound(httpd: Httpd, authority: Authority, sandbox: Sandbox) -> None:
    ((kid, key),) = BoundAcme2Certifier.eab.items()
    httpd.config.md_set(NAME, f"MDExternalAccountBinding {kid} {key}").http(NAME).https(NAME).managed(OTHER)
    httpd.log.expects("AH10056", "externalAccountRequired")
    httpd.start().wait_log("AH10056")
    httpd.obtain(NAME)
    assert _leaf(httpd, authority).names == [NAME]
    assert len(sandbox.account_ids()) == 1


# What follows


def test_a_renewal_has_a_new_certificate_and_the_same_account(httpd: Httpd, authority: Authority, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    first, account = _leaf(httpd, authority), _account(sandbox)
    httpd.config.add(ALWAYS_DUE)
    httpd.graceful().wait_staged(NAME)
    httpd.config.clear().managed(NAME)
    httpd.graceful()
    assert _leaf(httpd, authority).serial != first.serial
    assert _account(sandbox) == account


@pytest.mark.needs("renewal information")
def test_the_moment_that_the_ca_suggests_is_the_moment_of_the_renewal(httpd: Httpd, authority: Authority) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    status = httpd.wait(lambda: (md := httpd.md_status(NAME)).get("ari") and md, what="the suggestion")
    window = {name: parsedate_to_datetime(text) for name, text in status["ari"]["suggested-window"].items()}
    assert window["from"] <= parsedate_to_datetime(status["ari"]["renew-at"]) <= window["until"]


@pytest.mark.needs("revocation")
def test_a_revoked_certificate_is_known_to_be_revoked(httpd: Httpd, authority: Authority, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    leaf, cli = _leaf(httpd, authority), A2md(sandbox, authority)
    done = cli("revoke", NAME, "--reason", "superseded")
    assert (done.code, done.out.split()) == (0, ["revoked:", NAME, leaf.serial]), done
    assert authority.is_revoked(leaf) in (True, None)
    # A second time is no error.
    assert [each["by"] for each in cli.json("revoke", NAME).output] == ["others"]


@pytest.mark.needs("revocation by the key of the certificate")
def test_a_certificate_is_revoked_by_its_own_key(httpd: Httpd, authority: Authority, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    leaf, cli = _leaf(httpd, authority), A2md(sandbox, authority)
    assert cli("acme", "delreg", _account(sandbox)).code == 0
    done = cli.json("revoke", NAME, "--reason", "keyCompromise")
    assert [each["by"] for each in done.output] == ["key"], done
    assert authority.is_revoked(leaf) in (True, None)


@pytest.mark.needs("changes of contacts")
def test_the_contacts_of_an_account_change(httpd: Httpd, authority: Authority, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    cli, account = A2md(sandbox, authority), _account(sandbox)
    done = cli.json("acme", "update", account, "new@example.org")
    # Not every server repeats the scheme.
    assert [each.removeprefix("mailto:") for each in done.output[0]["contact"]] == ["new@example.org"], done
    record = json.loads(sandbox.accounts(account).joinpath("account.json").read_text())
    assert record["contact"] == done.output[0]["contact"]
    assert cli("acme", "validate", account).code == 0


@pytest.mark.needs("key roll-over")
def test_an_account_has_a_new_key_and_goes_on(httpd: Httpd, authority: Authority, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    cli, account = A2md(sandbox, authority), _account(sandbox)
    before = sandbox.accounts(account).joinpath("account.pem").read_bytes()
    done = cli("acme", "rollover", account)
    assert (done.code, done.out) == (0, f"account has a new key: {account}\n"), done
    assert sandbox.accounts(account).joinpath("account.pem").read_bytes() != before
    httpd.config.managed(OTHER)
    httpd.graceful().obtain(OTHER)
    assert _leaf(httpd, authority, OTHER).names == [OTHER]
    assert _account(sandbox) == account


@pytest.mark.needs("deactivation")
def test_an_account_ends(httpd: Httpd, authority: Authority, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    cli, account = A2md(sandbox, authority), _account(sandbox)
    done = cli("acme", "deactivate", account, "--yes")
    assert (done.code, done.out) == (0, f"account deactivated: {account}\n"), done
    assert cli("acme", "validate", account).code == 1
    httpd.config.managed(OTHER)
    httpd.graceful().obtain(OTHER)
    assert len(sandbox.account_ids()) == 2


# What goes wrong


@pytest.mark.parametrize("kind, feature", NOT_OFFERED, indirect=["kind"], ids=lambda each: getattr(each, "name", each))
def test_what_a_server_does_not_offer_is_told_and_changes_nothing(
    httpd: Httpd, authority: Authority, sandbox: Sandbox, feature: str
) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    cli, account = A2md(sandbox, authority), _account(sandbox)
    before = {path: path.read_bytes() for path in sandbox.accounts(account).iterdir()}
    done = cli(*(word.format(name=NAME, account=account) for word in COMMANDS[feature]))
    assert done.code == 1 and done.err.strip(), done
    # A CA that fails, as Caddy does with 501, may have changed the key: the next use of the account finds out.
    assert cli("acme", "validate", account).code == 0
    assert {path: path.read_bytes() for path in sandbox.accounts(account).iterdir()} == before


@pytest.mark.needs("a policy")
def test_a_name_refused_by_policy_fails_alone(httpd: Httpd, authority: Authority, dns: Dns) -> None:
    dns.set_a(REFUSED, REFUSED_ADDRESS)
    httpd.config.add("MDCAChallenges http-01", f"Listen {REFUSED_ADDRESS}:80").managed(REFUSED).managed(NAME)
    httpd.log.expects("AH10056")
    httpd.start().wait_staged(NAME).wait_log("AH10056")
    assert _problem(httpd, REFUSED).removeprefix("urn:ietf:params:acme:error:") in authority.refusals, httpd.log.find("AH10056")
    httpd.graceful()
    assert _leaf(httpd, authority).names == [NAME]


@pytest.mark.needs("reasons of failed validations")
def test_a_failed_validation_is_told_in_the_words_of_the_authority(httpd: Httpd, authority: Authority, dns: Dns) -> None:
    dns.set_a(NAME, REFUSED_ADDRESS)
    httpd.config.add("MDCAChallenges http-01", "MDRetryDelay 1d").managed(NAME)
    httpd.log.expects("AH10056")
    httpd.start().wait_log("AH10056", limit=20)
    assert _problem(httpd, NAME).startswith("urn:ietf:params:acme:error:")
    # The cause is gone: the challenge of the same order is answered again, or another order is made.
    dns.clear_a(NAME)
    httpd.stop()
    httpd.start().obtain(NAME, limit=30)
    assert _leaf(httpd, authority).names == [NAME]


def test_after_a_failed_validation_the_next_type_of_challenge_is_used(httpd: Httpd, authority: Authority, dns: Dns) -> None:
    # Nobody listens at the https port there.
    dns.set_a(NAME, ELSEWHERE)
    httpd.config.add("MDCAChallenges tls-alpn-01 http-01", f"Listen {ELSEWHERE}:80").md(NAME).http(NAME).https(NAME, PROTOCOLS)
    httpd.log.expects("AH10056")
    httpd.start().obtain(NAME, limit=25)
    assert _leaf(httpd, authority).names == [NAME]


def test_a_ca_that_is_away_comes_back_with_the_same_account(httpd: Httpd, authority: Authority, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    account, record = _account(sandbox), (sandbox.accounts(_account(sandbox)) / "account.json").read_text()
    authority.kill()
    httpd.config.managed(OTHER)
    httpd.log.expects("AH10056")
    httpd.graceful().wait_log("AH10056")
    authority.start()
    httpd.obtain(OTHER)
    assert _leaf(httpd, authority, OTHER).names == [OTHER]
    assert _account(sandbox) == account and (sandbox.accounts(account) / "account.json").read_text() == record


def test_an_order_goes_on_after_a_restart_of_the_ca(httpd: Httpd, authority: Authority, sandbox: Sandbox, dns: Dns) -> None:
    folder = sandbox.writable("commands")
    os.mkfifo(folder / "go", 0o666)
    wait_once = f'[ "$1" = teardown ] || [ -e {folder}/asked ] || {{ : >{folder}/asked; read line <{folder}/go; }}'
    command = sandbox.write("bin/dns", f'#!/bin/sh\n{dns.command()} "$@"\n{wait_once}\nexit 0\n', 0o755)
    httpd.config.add("MDCAChallenges dns-01", f'MDChallengeDns01 "{command}"').md(NAME).https(NAME)
    httpd.start().wait(lambda: (folder / "asked").exists(), what="a challenge in place")
    authority.kill()
    authority.start()
    (folder / "go").write_text("\n")
    httpd.obtain(NAME)
    assert _leaf(httpd, authority).names == [NAME]
    assert httpd.log.count("MD0091") == 1 and [call[0] for call in dns.calls()] == ["setup", "teardown"]
