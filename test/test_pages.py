"""The page and the section of server-status as a browser shows them to people."""

from __future__ import annotations

import re

import pytest

from gallery import HOSTILE, LONG, Gallery, awkward, every_state, many
from harness.browser import DESKTOP, PHONE, Browser
from harness.world import World

pytestmark = pytest.mark.module("ours")


def _cards(text: str) -> dict[str, str]:
    """Text that a phone shows for each domain, without line breaks."""
    parts = re.split(r"\n(\S+)\n(?=\s*Names|\s*\1)", text)
    return {name: " ".join(said.split()) for name, said in zip(parts[1::2], parts[2::2], strict=True)}


def test_people_read_what_is_wrong_and_what_comes_next(world: World) -> None:
    gallery = many(awkward(every_state(Gallery(world))), 180)
    gallery.httpd.log.expects("AH10173")
    gallery.open()
    page, section = gallery.page(), gallery.section()
    headers = gallery.httpd.get("http://page.example.net/page").headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'"

    httpd = gallery.httpd
    httpd.config.clear().http("page.example.net", *gallery.PAGE)
    httpd.graceful()
    none = gallery.page()
    browser = Browser(world.sandbox.root / "browser")
    seen, tablet, desktop, status, empty = browser.look(
        (page, PHONE), (page, 700), (page, DESKTOP), (section, DESKTOP), (none, PHONE)
    )
    for each, width in ((seen, PHONE), (tablet, 700), (desktop, DESKTOP), (empty, PHONE)):
        assert (each.width, each.needed, each.out) == (width, width, [])
    for line in (
        "3 without a valid certificate: expired.example.org, first.example.org, new.example.org",
        "3 with a failing renewal: failing.example.org, hostile.example.org, no-dns.example.org",
        "2 due for manual renewal: manual.example.org, static.example.org",
        "1 with a new certificate waiting for a restart: staged.example.org",
        "1 being renewed: renewing.example.org",
        "185 good",
        "Lifetime of a certificate: passed remaining renewal window",
    ):
        assert line in seen.text, seen.text
    cards = _cards(seen.text)
    for name, said in {
        "example.org": "good until .* 6[89] days left LetsEncrypt crt.sh.secp256r1. Renew 20",
        "shop.example.org": r"days left \(secp256r1\) .* days left \(secp384r1\) .*crt.sh.secp256r1. crt.sh.secp384r1.",
        "renewing.example.org": "Asking for a certificate for renewing.example.org Ongoing...",
        "staged.example.org": "finished, 1 new certificate staged. In use after the next graceful restart",
        "failing.example.org": r"No valid A record found for failing.example.org Error\[.*\]: urn:ietf:params:acme:error:dns Next run in ~\d+ minutes, after 3 errors in a row",
        "expired.example.org": r"expired until .* expired 3 days ago .* is a firewall or a proxy in the way\? Error\[Connection refused\]: transport-connect Next run in ~5 hours, after 14 errors in a row",
        "first.example.org": r"incomplete: certificate\(secp256r1\) is missing .* status 404",
        "new.example.org": "is missing .*Pending",
        "manual.example.org": "Manual renew: due now",
        "static.example.org": "Manual renew: due now",
        "no-dns.example.org": "Cannot be renewed: .* needs the challenge type 'dns-01'",
        "hostile.example.org": re.escape(HOSTILE),
        "many.example.org": "host-39.many.example.org",
        LONG: f"{LONG} www.{LONG}",
    }.items():
        assert re.search(said, cards[name]), (name, cards[name])

    assert len(cards) == 195
    assert "\t".join(("Domain", "Names", "Status", "Valid", "CA", "Stapling", "CheckAt", "Activity")) in desktop.text
    assert "Managed Certificates" in status.text and HOSTILE in status.text
    # The table needs no more room than mod_status's own.
    assert status.needed == DESKTOP and not [each for each in status.out if "md_" in each]
    assert "<script" not in page + section
    assert "There are no managed domains. Add one with a directive such as MDomain www.example.org." in empty.text
    assert "Managed Certificates" not in gallery.section()
