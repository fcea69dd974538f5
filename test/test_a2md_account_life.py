"""Commands of a2md for existing accounts and certificates: changes, new keys, revocation, the end, and a key from elsewhere."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from harness.a2md import A2md
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox

pytestmark = pytest.mark.module("ours")

NAME, OTHER = "a.example.org", "b.example.org"
ACCOUNT, SUCCESSOR = "ACME-localhost-0000", "ACME-localhost-0001"
SIGALGS = {"secp256r1": "ECDSA+SHA256", "rsa2048": "RSA-PSS+SHA256"}


def _key(sandbox: Sandbox, account: str) -> rsa.RSAPrivateKey:
    """The key of an account, out of the store."""
    secret = json.loads((sandbox.store / "md_store.json").read_text())["key"]
    pem = sandbox.accounts(account).joinpath("account.pem").read_bytes()
    key = serialization.load_pem_private_key(pem, base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4)))
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def _jwk(key: rsa.RSAPrivateKey) -> str:
    """As other clients keep it (RFC 7517)."""
    own = key.private_numbers()
    numbers = {"n": own.public_numbers.n, "e": own.public_numbers.e, "d": own.d, "p": own.p, "q": own.q}
    numbers |= {"dp": own.dmp1, "dq": own.dmq1, "qi": own.iqmp}
    text = lambda value: base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()  # noqa: E731
    return json.dumps({name: text(value) for name, value in numbers.items()} | {"kty": "RSA"})


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    kind, encoding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    return key.private_bytes(encoding, kind, serialization.NoEncryption()).decode()


@pytest.mark.pebble(strict=True)
def test_an_account_is_changed_gets_a_new_key_revokes_ends_and_comes_back(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    cli = A2md(sandbox, pebble)
    # Neither needs the URL of the CA: the store has it.
    beside = A2md(sandbox, None, ("-C", pebble.trust))
    record = lambda account=ACCOUNT: json.loads(sandbox.accounts(account).joinpath("account.json").read_text())  # noqa: E731
    httpd.config.add("MDPrivateKeys secp256r1 rsa2048", "MDContactEmail admin@example.org").managed(NAME)
    httpd.start().obtain(NAME)
    served = [httpd.served(NAME, sigalgs=sigalgs, ca=pebble.root).leaf for sigalgs in SIGALGS.values()]
    assert len({leaf.serial for leaf in served}) == 2

    done = beside("acme", "update", ACCOUNT, "one@example.org", "two@example.org")
    assert (done.code, done.out) == (0, f"account updated: {ACCOUNT} mailto:one@example.org mailto:two@example.org\n"), done
    assert record()["contact"] == ["mailto:one@example.org", "mailto:two@example.org"]
    done = beside.json("acme", "update", ACCOUNT)
    assert done.output == [{"account": ACCOUNT, "contact": ["mailto:admin@example.org"], "agreement": "accepted"}]

    before, url = _key(sandbox, ACCOUNT), record()["url"]
    done = beside("acme", "rollover", ACCOUNT)
    assert (done.code, done.out) == (0, f"account has a new key: {ACCOUNT}\n"), done
    assert _key(sandbox, ACCOUNT).private_numbers() != before.private_numbers()
    assert sorted(path.name for path in sandbox.accounts(ACCOUNT).iterdir()) == ["account.json", "account.pem"]
    assert cli("acme", "validate", ACCOUNT).code == 0
    # The old key is nobody's now.
    old = sandbox.write("old.pem", _pem(before))
    done = cli("acme", "import", old)
    assert done.code == 1
    assert "has no account for this key" in done.err

    refused = beside.json("revoke", NAME, "--reason", "cACompromise")
    assert (refused.code, refused.document["status"]) == (1, 22)
    assert "the reason cACompromise is for CAs only, use one of unspecified (0), keyCompromise (1)" in refused.err
    done = beside("revoke", NAME, "--reason", "superseded")
    assert done.code == 0, done
    assert sorted(done.out.splitlines()) == sorted(f"revoked: {NAME} {leaf.serial}" for leaf in served)
    assert f"'a2md drive -f {NAME}' obtains a new certificate with a new key now" in done.err
    assert f"{NAME}  revoked  " in cli("status").out
    states = [pebble.cert_status(leaf) for leaf in served]
    assert [(state["Status"], state["Reason"]) for state in states] == [("Revoked", 4)] * 2
    assert [each["by"] for each in beside.json("revoke", NAME).output] == ["others"] * 2

    # The server goes on with the account and its new key, and then without it.
    httpd.config.managed(OTHER)
    httpd.graceful().obtain(OTHER)
    assert pebble.new_accounts == 1
    last = httpd.served(OTHER, sigalgs=SIGALGS["secp256r1"], ca=pebble.root).leaf
    refused = beside("acme", "deactivate", ACCOUNT)
    assert (refused.code, record()["status"]) == (1, "valid")
    assert "--yes" in refused.err
    done = beside("acme", "deactivate", ACCOUNT, "--yes")
    assert (done.code, done.out) == (0, f"account deactivated: {ACCOUNT}\n"), done
    assert (record()["status"], record()["url"]) == ("deactivated", url)
    assert sandbox.accounts(ACCOUNT).joinpath("account.pem").exists()
    assert cli("acme", "validate", ACCOUNT).code == 1
    done = beside.json("revoke", "-r", "1", OTHER)
    assert [(each["by"], each["reason"]) for each in done.output] == [("key", "keyCompromise")] * 2
    assert (pebble.cert_status(last)["Status"], pebble.cert_status(last)["Reason"]) == ("Revoked", 1)
    assert "delete all copies of the key" in done.err
    done = cli("drive", "-f", OTHER)
    assert done.code == 0, done
    assert (pebble.new_accounts, sandbox.account_ids()) == (2, [ACCOUNT, SUCCESSOR])
    assert sandbox.md_json(OTHER)["ca"]["account"] == SUCCESSOR
    httpd.graceful()
    assert httpd.served(OTHER, sigalgs=SIGALGS["secp256r1"], ca=pebble.root).leaf.serial != last.serial

    # A key from elsewhere, in both forms; the account is found again where it is known.
    key, account, url = _key(sandbox, SUCCESSOR), SUCCESSOR, record(SUCCESSOR)["url"]
    for name, text in {"key.json": _jwk(key), "key.pem": _pem(key)}.items():
        file = sandbox.write(name, text)
        assert cli("acme", "delreg", account).code == 0
        first, again = (cli.json("acme", "import", file).output[0] for _ in range(2))
        assert first == again == {"account": first["account"], "url": url}
        account = first["account"]
        assert cli("acme", "validate", account).out == f"account valid: {account}\n"
    stranger = sandbox.write("stranger.pem", _pem(ec.generate_private_key(ec.SECP256R1())))
    assert cli.json("acme", "import", stranger).document["status"] == 2
    assert "is not a JSON Web Key" in cli("acme", "import", sandbox.write("x.json", "{}")).err
    assert cli.json("acme", "import", "/nowhere").document["status"] == 2
    assert pebble.new_accounts == 2
