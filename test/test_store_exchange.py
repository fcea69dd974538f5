"""A store that both modules use: each of them takes over files that the other has written."""

from __future__ import annotations

import base64
import json

import pytest

from harness.httpd import Httpd
from harness.module import Module
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

BOTH_WAYS = pytest.mark.parametrize(("writer", "reader"), [("system", "ours"), ("ours", "system")])
NAME = "a.example.org"
# Longer than the certificates live: they are due at any time.
ALWAYS_DUE = "MDRenewWindow 2h"
SHORT = pytest.mark.pebble(profiles={"default": 3600}, authz_reuse=0)


@pytest.fixture(autouse=True)
def _without_advice(httpd: Httpd) -> None:
    """Pebble advises to renew in the life of such short certificates, and C picks any moment of it, also the first."""
    httpd.config.add("MDRenewViaARI off")


def _by(httpd: Httpd, name: str) -> Httpd:
    """Makes the server use another module, after a stop if it was running.

    No renewal may be under way then: at a stop the C module can crash in it.
    """
    httpd.stop()
    httpd.module = httpd.config.module = Module.named(name)
    httpd.log.expects(*httpd.module.usual_warnings, optional=True)
    return httpd


def _fails(httpd: Httpd) -> None:
    """A renewal has failed when the server is killed, perhaps while it tries again."""
    httpd.wait(lambda: httpd.sandbox.job(NAME).get("errors"), what="a failed renewal")
    httpd.kill()
    # The file of the process id is left.
    httpd.log.expects("AH00098", optional=True)


def _renews(httpd: Httpd, pebble: Pebble) -> None:
    """The renewal comes due, and succeeds with the account that is there; the next one waits in staging at the end."""
    before = httpd.served(NAME).leaf
    httpd.config.add(ALWAYS_DUE)
    httpd.graceful().obtain(NAME)
    served = httpd.served(NAME, ca=pebble.root)
    assert served.verified
    assert served.leaf.serial != before.serial
    assert pebble.new_accounts == len(httpd.sandbox.account_ids()) == 1
    httpd.wait_staged(NAME)


@BOTH_WAYS
@SHORT
def test_a_complete_certificate_is_served_at_once_renewed_and_given_back(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, writer: str, reader: str
) -> None:
    httpd.config.managed(NAME, "www.example.org")
    _by(httpd, writer).start().obtain(NAME)
    leaf, secret = httpd.served(NAME).leaf, sandbox.store.joinpath("md_store.json").read_bytes()

    _by(httpd, reader).start()
    served = httpd.served(NAME, ca=pebble.root)
    assert served.verified
    assert served.leaf == leaf
    assert httpd.get(f"https://{NAME}/").status == 200
    _renews(httpd, pebble)

    _by(httpd, writer).start()
    assert httpd.served(NAME, ca=pebble.root).verified
    httpd.obtain(NAME).wait_staged(NAME)
    assert pebble.new_accounts == 1
    assert sandbox.store.joinpath("md_store.json").read_bytes() == secret


@BOTH_WAYS
@SHORT
def test_a_staged_certificate_is_activated_at_the_start(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, writer: str, reader: str
) -> None:
    httpd.config.managed(NAME)
    _by(httpd, writer).start().wait_staged(NAME)

    _by(httpd, reader).start()
    assert not sandbox.staging(NAME).exists()
    assert httpd.served(NAME, ca=pebble.root).verified
    assert httpd.get(f"https://{NAME}/").status == 200
    _renews(httpd, pebble)


@BOTH_WAYS
@SHORT
def test_a_renewal_that_failed_half_way_is_taken_up(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, writer: str, reader: str
) -> None:
    httpd.config.managed(NAME)
    _by(httpd, writer).start().obtain(NAME)
    leaf = httpd.served(NAME).leaf
    # Where nobody answers the challenge.
    pebble.dns.set_a(NAME, "127.0.0.9")
    httpd.log.expects("AH10056")
    httpd.log.expects("challenge", "authorization", optional=True)
    httpd.config.add(ALWAYS_DUE)
    httpd.graceful()
    _fails(httpd)
    assert sandbox.staging(NAME).exists()
    pebble.dns.clear_a(NAME)

    _by(httpd, reader).start()
    assert httpd.served(NAME).leaf == leaf
    _renews(httpd, pebble)


@SHORT
def test_the_account_of_a_first_renewal_that_failed_in_c_is_used(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    pebble.dns.set_a(NAME, "127.0.0.9")
    httpd.log.expects("AH10056")
    httpd.log.expects("challenge", "authorization", optional=True)
    _by(httpd, "system").start()
    _fails(httpd)
    assert sandbox.staging(NAME).joinpath("account.pem").exists()
    pebble.dns.clear_a(NAME)

    _by(httpd, "ours").start().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    assert pebble.new_accounts == len(sandbox.account_ids()) == 1


KEYS = {"ECDSA+SHA256": "pubcert.secp256r1.pem", "RSA+SHA256": "pubcert.pem"}


@BOTH_WAYS
@SHORT
@pytest.mark.parametrize("state", ["complete", "staged"])
def test_both_key_types_are_taken_over(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, writer: str, reader: str, state: str
) -> None:
    httpd.config.add("MDPrivateKeys secp256r1 rsa2048").managed(NAME)
    _by(httpd, writer).start().wait_staged(NAME)
    certs = {algorithm: sandbox.staging(NAME).joinpath(file).read_text() for algorithm, file in KEYS.items()}
    if state == "complete":
        httpd.graceful()

    _by(httpd, reader).start()
    for algorithm, pem in certs.items():
        served = httpd.served(NAME, tls="1.2", sigalgs=algorithm, ca=pebble.root)
        assert served.verified, algorithm
        assert served.leaf.pem.strip() in pem, algorithm
    _renews(httpd, pebble)
    for algorithm, pem in certs.items():
        served = httpd.served(NAME, tls="1.2", sigalgs=algorithm, ca=pebble.root)
        assert served.verified, algorithm
        assert served.leaf.pem.strip() not in pem, algorithm


@BOTH_WAYS
@SHORT
def test_an_archived_set_stays_and_the_next_gets_a_number_of_its_own(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, writer: str, reader: str
) -> None:
    httpd.config.managed(NAME)
    _by(httpd, writer).start().obtain(NAME)
    _renews(httpd, pebble)
    # The first is what domains/ held before any certificate.
    first = _files(sandbox, f"{NAME}.2")
    assert "pubcert.pem" in first

    _by(httpd, reader).start()
    sets = len(list(sandbox.archive().iterdir()))
    httpd.obtain(NAME).wait_staged(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    assert len(list(sandbox.archive().iterdir())) > sets
    assert _files(sandbox, f"{NAME}.2") == first


def _files(sandbox: Sandbox, name: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sandbox.archive(name).iterdir()}


@BOTH_WAYS
@SHORT
def test_a_secret_with_nul_bytes_opens_keys_and_accounts(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, writer: str, reader: str
) -> None:
    secret = base64.urlsafe_b64encode(b"\0first\0" + bytes(range(40, 0, -1)) + b"\0").decode()
    assert len(secret) == 64
    store = sandbox.write("md/md_store.json", json.dumps({"store": {"version": 3.0}, "key": secret}), mode=0o600)
    httpd.config.managed(NAME)
    _by(httpd, writer).start().wait_staged(NAME)
    assert "ENCRYPTED PRIVATE KEY" in sandbox.staging(NAME).joinpath("privkey.pem").read_text()

    _by(httpd, reader).start()
    assert httpd.served(NAME, ca=pebble.root).verified
    _renews(httpd, pebble)
    assert json.loads(store.read_text())["key"] == secret


@SHORT
def test_a_report_that_says_which_challenge_type_failed_is_a_report_to_the_c_module(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World
) -> None:
    world.balancer(httpd)
    httpd.config.md(NAME).http(NAME).https(NAME, "Protocols http/1.1 acme-tls/1")
    httpd.log.expects("AH10056")
    httpd.start().wait_staged(NAME)
    assert sandbox.job(NAME)["challenges"] == {"failed-before": ["tls-alpn-01"]}
    _by(httpd, "system").config.add("MDCAChallenges http-01")
    httpd.start()
    assert sandbox.job(NAME, "domains")["finished"]
    _renews(httpd, pebble)
