"""MDActivation live: new certificates are served without a restart."""

from __future__ import annotations

import pytest

from harness.a2md import a2md
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = pytest.mark.module("ours")

NAME = "a.example.org"
RSA, EC = "RSA-PSS+SHA256", "ECDSA+SHA256:ECDSA+SHA384"


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_a_first_certificate_is_served_without_a_restart_and_stays_after_one(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, mpm: str
) -> None:
    httpd.config.add("MDActivation live", "MDPrivateKeys rsa2048 secp384r1", "MDServerStatus on").managed(NAME)
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
    _tells_what_is_live(httpd, sandbox, pebble)
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


def _tells_what_is_live(httpd: Httpd, sandbox: Sandbox, pebble: Pebble) -> None:
    """Pages, metrics and a2md say of each type of key what openssl sees."""
    md, auto, metrics = httpd.md_status(NAME), httpd.admin("/server-status?auto").text, httpd.admin("/md-metrics").text
    told = a2md("-d", sandbox.store, "status").stdout
    page = httpd.admin("/server-status").text
    assert (md["state"], md["activation"], "renew" in md) == (2, "live", False)
    assert ">live</span>" in page and "ManagedCertificatesOK: 1\n" in auto
    for key, algorithms in {"rsa": RSA, "secp384r1": EC}.items():
        leaf = httpd.served(NAME, sigalgs=algorithms, ca=pebble.root).leaf
        assert [md[member]["cert"][key]["serial"] for member in ("live", "after-restart")] == [leaf.serial] * 2
        assert md["cert"][key]["sha256-fingerprint"] == leaf.sha256
        assert f"LiveSerial: {leaf.serial}\n" in auto and f"CheckAtFingerprint: {leaf.sha256}\n" in auto
        assert f'key="{key}",serial="{leaf.serial}",source="live"}} 1\n' in metrics
        assert leaf.serial in page
        assert f"{key} serial {leaf.serial}" in told


def test_renewals_go_on_without_restarts_and_challenges_win_over_what_is_live(
    httpd: Httpd, pebble: Pebble, world: World
) -> None:
    clock = world.clock(httpd)
    httpd.config.add("MDActivation live", "MDPrivateKeys rsa2048 secp256r1", "MDCAChallenges tls-alpn-01")
    httpd.config.add("Protocols http/1.1 acme-tls/1", "MDRenewWindow 100d").managed(NAME)
    httpd.start()
    httpd.wait_log("MD0036", limit=90)
    seen: set[str] = set()
    while len(seen) < 8:
        known = len(seen)
        for algorithms in (RSA, EC):
            served = httpd.served(NAME, sigalgs=algorithms, ca=pebble.root)
            assert served.verified
            seen.add(served.leaf.serial)
        if len(seen) > known and len(seen) % 2 == 0:
            # A tenth of the life passes between two orders.
            clock.shift(days=5 * len(seen))
    assert pebble.new_accounts == 1


def test_what_is_live_is_served_after_a_kill_and_not_by_a_host_that_refuses_it(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    strict = "b.example.org"

    def configure() -> None:
        httpd.config.clear().add("MDActivation live", "MDPrivateKeys secp256r1").managed(NAME)

    configure()
    # The keys of Pebble's issuers have 256 bits, which is too few.
    httpd.config.md_set(strict, "MDPrivateKeys secp384r1").http(strict).https(strict, "SSLCipherSuite HIGH:@SECLEVEL=4")
    httpd.start().wait_log("MD0036", times=2)
    live = httpd.served(NAME, ca=pebble.root)
    assert live.verified
    httpd.log.expects("MD0040")
    for tls in ("1.2", "1.3"):
        assert not httpd.served(strict, tls=tls, ca=pebble.root).verified
    assert httpd.get(f"https://{strict}/").status == 503

    httpd.kill()
    # As the next renewal begins: what is live is nowhere else.
    for file in sandbox.staging(NAME).glob("*.pem"):
        file.unlink()
    configure()
    httpd.log.expects("AH00098", optional=True)
    httpd.start()
    assert httpd.served(NAME, ca=pebble.root).leaf == live.leaf
    assert [folder.name for folder in (sandbox.store / "live").glob("[!.]*")] == [strict]
