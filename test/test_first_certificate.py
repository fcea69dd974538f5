"""The way to a domain's first certificate: placeholder, http-01, staging, restart, service."""

from __future__ import annotations

import pytest

from harness.httpd import Httpd
from harness.module import Module
from harness.pebble import Pebble
from harness.sandbox import Access, Sandbox


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_first_certificate_is_obtained_and_served_after_a_restart(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, module: Module
) -> None:
    httpd.config.managed("a.example.org")
    httpd.start()
    module.assert_placeholder(httpd.get("https://a.example.org/"))

    httpd.wait_staged("a.example.org")
    assert (sandbox.staging("a.example.org") / "pubcert.pem").exists()
    assert not sandbox.domains("a.example.org").joinpath("pubcert.pem").exists()
    module.assert_placeholder(httpd.get("https://a.example.org/"))

    httpd.graceful()
    assert sandbox.renewals() == []
    served = httpd.served("a.example.org", ca=pebble.root)
    assert served.verified
    assert served.names == ["a.example.org"]
    page = httpd.get("https://a.example.org/", ca=pebble.root)
    assert (page.status, page.text) == (200, "a.example.org")
    assert page.certificate == served.leaf

    status = httpd.md_status("a.example.org")
    assert status["cert"]["rsa"]["serial"] == served.leaf.serial
    assert status["cert"]["rsa"]["sha256-fingerprint"] == served.leaf.sha256
    assert "renewal" not in status
    assert pebble.new_accounts == 1


def test_a_second_domain_is_added_and_obtained_with_the_same_account(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    httpd.config.managed("a.example.org")
    httpd.start().obtain("a.example.org")
    first = httpd.served("a.example.org").leaf

    httpd.config.managed("b.example.org")
    httpd.graceful().obtain("b.example.org")

    assert httpd.served("a.example.org").leaf == first
    second = httpd.served("b.example.org", ca=pebble.root)
    assert second.verified
    assert second.names == ["b.example.org"]
    assert pebble.new_accounts == 1
    assert len(sandbox.account_ids()) == 1


def test_one_certificate_covers_all_names_of_a_domain(httpd: Httpd, pebble: Pebble) -> None:
    names = ["a.example.org", "mail.example.org", "www.a.example.org"]
    httpd.config.managed(*names)
    httpd.start().obtain("a.example.org")

    handshakes = [httpd.served(name, ca=pebble.root) for name in names]
    assert all(each.verified for each in handshakes)
    assert {each.leaf.serial for each in handshakes} == {handshakes[0].leaf.serial}
    assert handshakes[0].names == names
    assert httpd.md_status("a.example.org")["domains"] == names


ROOT_ONLY, USERS = Access(0o700, "root"), Access(0o755, "www-data")
STORE_ACCESS = {
    ".": Access(0o755, "root"),
    "md_store.json": Access(0o600, "root"),
    "domains": ROOT_ONLY,
    "domains/a.example.org": ROOT_ONLY,
    "domains/a.example.org/md.json": Access(0o600, "root"),
    "domains/a.example.org/privkey.pem": Access(0o600, "root"),
    "domains/a.example.org/pubcert.pem": Access(0o600, "root"),
    "domains/a.example.org/job.json": Access(0o600, "root"),
    "archive": ROOT_ONLY,
    "archive/a.example.org.1": ROOT_ONLY,
    "archive/a.example.org.1/md.json": Access(0o600, "root"),
    "tmp": ROOT_ONLY,
    "accounts": Access(0o755, "root"),
    "accounts/ACME-localhost-0000": Access(0o755, "root"),
    "accounts/ACME-localhost-0000/account.json": Access(0o644, "root"),
    "accounts/ACME-localhost-0000/account.pem": Access(0o644, "root"),
    "staging": USERS,
    "challenges": USERS,
}
STAGING_ACCESS = {
    "staging": USERS,
    "staging/a.example.org": USERS,
    "staging/a.example.org/md.json": Access(0o644, "www-data"),
    "staging/a.example.org/job.json": Access(0o644, "www-data"),
    "staging/a.example.org/privkey.pem": Access(0o644, "www-data"),
    "staging/a.example.org/pubcert.pem": Access(0o644, "www-data"),
    "challenges": USERS,
}


def test_store_has_the_documented_permissions_after_a_root_start(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.managed("a.example.org")
    httpd.start().wait_staged("a.example.org")
    assert {path: sandbox.tree().get(path) for path in STAGING_ACCESS} == STAGING_ACCESS

    httpd.graceful()
    assert {path: sandbox.tree().get(path) for path in STORE_ACCESS} == STORE_ACCESS
