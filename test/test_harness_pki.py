"""The harness: private authorities and the OCSP responder, judged by openssl."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from harness.ocsp import Responder
from harness.pki import Ca, Leaf, Pki
from harness.world import World


def _openssl(*args: object) -> str:
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def _ask(responder: Responder, leaf: Leaf, *options: str) -> str:
    ca = responder.ca.cert_file
    return _openssl("ocsp", "-issuer", ca, "-cert", leaf.cert_file, "-url", responder.url, "-CAfile", ca, *options)


def test_pki_chains_verify_and_lies_do_not(pki: Pki) -> None:
    root, other = pki.ca("Root"), pki.ca("Other Root")
    issuing = root.intermediate("Issuing")
    leaf = issuing.leaf("a.example.org", "*.b.example.org", "192.0.2.1", key="rsa2048", must_staple=True, days=1)
    verify = ("verify", "-CAfile", root.cert_file, "-untrusted", issuing.cert_file)
    assert _openssl(*verify, leaf.cert_file).endswith("OK\n")
    assert leaf.certificate.names == ["*.b.example.org", "192.0.2.1", "a.example.org"]
    assert leaf.certificate.key_type == "rsa2048" and leaf.certificate.must_staple

    assert "signature failure" in _openssl(*verify, issuing.leaf("a.example.org", signed_by=other).cert_file)
    expired = issuing.leaf("a.example.org", not_before=leaf.certificate.not_before - timedelta(days=9), days=1)
    assert "has expired" in _openssl(*verify, expired.cert_file)
    assert issuing.leaf("a.example.org", san=False).certificate.names == []


@pytest.mark.parametrize(
    ("status", "said"), [("good", ": good"), ("revoked", ": revoked"), ("unknown", ": unknown")]
)
def test_ocsp_responder_says_every_status(world: World, status: str, said: str) -> None:
    ca = world.pki.ca()
    leaf = ca.leaf("a.example.org")
    responder = world.responder(ca).says(leaf, status)
    text = _ask(responder, leaf)
    assert said in text and "Response verify OK" in text
    (question,) = responder.asked_for(leaf)
    assert question.method == "POST" and question.nonce


@pytest.mark.parametrize(
    ("lie", "complaint"),
    [
        (lambda ca, leaf: {"signer": ca}, "Response Verify Failure"),
        (lambda ca, leaf: {"age": timedelta(days=3)}, "Status times invalid"),
        (lambda ca, leaf: {"age": timedelta(hours=-3)}, "Status times invalid"),
        (lambda ca, leaf: {"instead": leaf}, "No Status found"),
        (lambda ca, leaf: {"nonce": "wrong"}, "Nonce Verify error"),
        (lambda ca, leaf: {"nonce": "none"}, "no nonce in response"),
    ],
)
def test_ocsp_responder_lies(world: World, lie: Callable[[Ca, Leaf], dict[str, Any]], complaint: str) -> None:
    ca, other = world.pki.ca(), world.pki.ca("Other Root")
    leaf, decoy = ca.leaf("a.example.org"), ca.leaf("b.example.org")
    responder = world.responder(ca).says(leaf, **lie(other, decoy))
    assert complaint in _ask(responder, leaf)


def test_ocsp_responder_can_delegate_and_leave_out_next_update(world: World) -> None:
    ca = world.pki.ca()
    leaf, signer = ca.leaf("a.example.org"), ca.leaf("Signer", usage="ocsp")
    text = _ask(world.responder(ca).says(leaf, signer=signer, life=None), leaf)
    assert ": good" in text and "Response verify OK" in text and "Next Update" not in text


def test_ocsp_responder_can_be_useless(world: World) -> None:
    ca = world.pki.ca()
    leaf = ca.leaf("a.example.org")
    responder = world.responder(ca)
    assert "unauthorized" in _ask(responder, leaf)
    responder.hangs()
    assert "imeout" in _ask(responder, leaf, "-timeout", "1")
    responder.hangs(False).says_raw(b"nonsense", 500)
    assert "Error querying OCSP responder" in _ask(responder, leaf)
