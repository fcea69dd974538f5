"""MDActivation live: new certificates are served without a restart."""

from __future__ import annotations

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox

pytestmark = pytest.mark.module("ours")

NAME = "a.example.org"
RSA, EC = "RSA-PSS+SHA256", "ECDSA+SHA256:ECDSA+SHA384"


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_a_first_certificate_is_served_without_a_restart_and_stays_after_one(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, mpm: str
) -> None:
    httpd.config.add("MDActivation live", "MDPrivateKeys rsa2048 secp384r1").managed(NAME)
    if mpm != "prefork":
        httpd.config.load("http2").add("Protocols h2 http/1.1")
    httpd.start()
    assert httpd.get(f"https://{NAME}/").status == 503
    httpd.wait_staged(NAME)
    httpd.wait_log("MD0036")
    assert (sandbox.store / "live" / NAME / "live.json").read_text().count("BEGIN ENCRYPTED PRIVATE KEY") == 2
    assert not sandbox.domains(NAME).joinpath("pubcert.pem").exists()

    page = httpd.get(f"https://{NAME}/", ca=pebble.root)
    assert (page.status, page.text) == (200, NAME)
    before = {}
    for tls in ("1.2", "1.3"):
        for kind, algorithms in {"rsa2048": RSA, "secp384r1": EC}.items():
            served = httpd.served(NAME, tls=tls, sigalgs=algorithms, ca=pebble.root)
            assert (served.verified, served.leaf.key_type) == (True, kind), (tls, kind)
            before[kind] = served.leaf
    assert httpd.served(None).leaf in before.values()
    assert mpm == "prefork" or httpd.get_h2(f"https://{NAME}/").status == 200

    httpd.graceful()
    assert not (sandbox.store / "live" / NAME).exists()
    assert httpd.served(NAME, sigalgs=RSA, ca=pebble.root).leaf == before["rsa2048"]
    assert httpd.get(f"https://{NAME}/", ca=pebble.root).status == 200


def test_renewals_go_on_without_restarts_and_challenges_win_over_what_is_live(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDActivation live", "MDPrivateKeys rsa2048 secp256r1", "MDCAChallenges tls-alpn-01")
    httpd.config.add("Protocols http/1.1 acme-tls/1", "MDRenewWindow 100d").managed(NAME)
    httpd.start()
    httpd.wait_log("MD0036", limit=90)
    seen: set[str] = set()
    while len(seen) < 8:
        for algorithms in (RSA, EC):
            served = httpd.served(NAME, sigalgs=algorithms, ca=pebble.root)
            assert served.verified
            seen.add(served.leaf.serial)
    assert pebble.new_accounts == 1
