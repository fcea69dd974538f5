"""Several types of key per domain: a certificate for each, obtained, renewed and served apart."""

from __future__ import annotations

import pytest

from harness.certificate import Certificate
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.tls import Served

NAME = "a.example.org"
RSA, EC = "RSA-PSS+SHA256", "ECDSA+SHA256:ECDSA+SHA384"


def _clients(httpd: Httpd, pebble: Pebble) -> dict[str, Served]:
    """Handshakes of a client that accepts RSA only, and of one that accepts elliptic curves only."""
    return {
        "rsa": httpd.served(NAME, tls="1.2", sigalgs=RSA, ca=pebble.root),
        "ec": httpd.served(NAME, tls="1.2", sigalgs=EC, ca=pebble.root),
    }


def _certificates(sandbox: Sandbox) -> dict[str, Certificate]:
    files = sorted(sandbox.domains(NAME).glob("pubcert*.pem"))
    return {path.name: Certificate.chain(path)[0] for path in files}


@pytest.mark.parametrize("types", ["secp384r1 rsa2048", "rsa2048 secp384r1"])
def test_each_client_gets_the_certificate_that_fits(httpd: Httpd, pebble: Pebble, types: str) -> None:
    httpd.config.add(f"MDPrivateKeys {types}").managed(NAME)
    httpd.start().obtain(NAME)
    served = _clients(httpd, pebble)
    assert all(each.verified for each in served.values())
    assert (served["rsa"].leaf.key_type, served["ec"].leaf.key_type) == ("rsa2048", "secp384r1")
    shown = httpd.md_status(NAME)["cert"]
    assert {shown["rsa"]["serial"], shown["secp384r1"]["serial"]} == {each.leaf.serial for each in served.values()}
    assert pebble.new_orders == 2
    assert pebble.new_accounts == 1


@pytest.mark.module("ours")
def test_a_type_that_is_added_is_obtained_alone_and_one_that_is_removed_is_no_reason_to_renew(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    httpd.config.add("MDPrivateKeys rsa2048").managed(NAME)
    httpd.start().obtain(NAME)
    first = _certificates(sandbox)["pubcert.pem"]
    key = sandbox.domains(NAME).joinpath("privkey.pem").read_bytes()

    httpd.config.add("MDPrivateKeys secp256r1 rsa2048")
    httpd.graceful().wait_staged(NAME)
    assert not sandbox.staging(NAME).joinpath("pubcert.pem").exists()
    assert httpd.served(NAME, ca=pebble.root).leaf == first
    httpd.graceful()
    served = _clients(httpd, pebble)
    assert all(each.verified for each in served.values())
    assert served["rsa"].leaf == first
    assert served["ec"].leaf.key_type == "secp256r1"
    assert sandbox.domains(NAME).joinpath("privkey.pem").read_bytes() == key
    assert pebble.new_orders == 2
    assert "renew" not in httpd.md_status(NAME)

    httpd.config.add("MDPrivateKeys secp256r1")
    httpd.graceful()
    looks = httpd.log.count("AH10107")
    httpd.wait_log("AH10107", times=looks + 2)
    assert "renew" not in httpd.md_status(NAME)
    assert httpd.served(NAME, ca=pebble.root).leaf == served["ec"].leaf
    assert pebble.new_orders == 2


@pytest.mark.module("ours")
def test_must_staple_is_asked_for_and_taken_back(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.add("MDMustStaple on", "MDPrivateKeys secp256r1").managed(NAME)
    # Pebble names no responder.
    httpd.log.expects("MD0033")
    httpd.start().obtain(NAME)
    assert _certificates(sandbox)["pubcert.secp256r1.pem"].must_staple
    assert httpd.md_status(NAME)["state"] == 2

    httpd.config.add("MDMustStaple off")
    httpd.graceful().obtain(NAME)
    assert not _certificates(sandbox)["pubcert.secp256r1.pem"].must_staple
    assert httpd.served(NAME, ca=pebble.root).verified
