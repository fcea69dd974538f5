"""The page and the section of server-status as a browser shows them to people, and as axe-core judges them."""

from __future__ import annotations

import re

import pytest

from gallery import HOSTILE, LONG, Gallery, awkward, every_state, many
from harness.browser import AXE, DESKTOP, PHONE, TABLET, Browser, View
from harness.module import REPO
from harness.world import World

pytestmark = pytest.mark.module("ours")

SMALLEST = 320
"""CSS pixels at which nobody has to scroll sideways (WCAG 2.2, 1.4.10)."""
VIEWS = [View(width, *how) for width in (PHONE, TABLET, DESKTOP) for how in ((False, False), (True, False), (False, True))]


def _cards(text: str) -> dict[str, str]:
    """Text that a phone shows for each domain, without line breaks."""
    parts = re.split(r"\n(\S+)\n(?=\s*[\u00d7!\u2191\u21bb\u2713] )", text)
    return {name: " ".join(said.split()) for name, said in zip(parts[1::2], parts[2::2], strict=True)}


def test_people_read_what_is_wrong_and_what_comes_next(world: World) -> None:
    gallery = many(awkward(every_state(Gallery(world))), 180)
    gallery.httpd.log.expects("AH10173")
    gallery.open()
    page, section, sections = gallery.page(), gallery.section(), gallery.page("?state=good&page=4")
    headers = gallery.httpd.get("http://page.example.net/page").headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
    assert (headers["Cache-Control"], headers["Refresh"]) == ("no-store", None)

    httpd = gallery.httpd
    httpd.config.clear().http("page.example.net", *gallery.PAGE)
    httpd.graceful()
    none = gallery.page()
    browser = Browser(world.sandbox.root / "browser")
    seen, tablet, desktop, status, empty, last = browser.look(
        (page, PHONE), (page, TABLET), (page, DESKTOP), (section, DESKTOP), (none, SMALLEST), (sections, SMALLEST)
    )
    for each, width in ((seen, PHONE), (tablet, TABLET), (desktop, DESKTOP), (empty, SMALLEST), (last, SMALLEST)):
        assert (each.width, each.needed, each.out) == (width, width, [])
    for line in (
        "1 expired: expired.example.org",
        "2 no certificate yet: first.example.org, new.example.org",
        "3 failing: failing.example.org, hostile.example.org, no-dns.example.org",
        "2 due, by hand: manual.example.org, static.example.org",
        "1 waiting for a restart: staged.example.org",
        "1 being renewed: renewing.example.org",
        "185 good",
        "Domains 1 to 50 of 195",
        "Life of a certificate: passed left time to renew",
        "Page 1 of 4",
    ):
        assert line in seen.text, seen.text
    assert seen.text.startswith("page.example.net at ")
    cards = _cards(seen.text)
    for name, said in {
        "example.org": r"good example.org www.example.org blog.example.org until .* 6[89] days left LetsEncrypt Renewal due 20",
        "renewing.example.org": "being renewed .* Asking for a certificate for renewing.example.org The renewal is in progress",
        "staged.example.org": "waiting for a restart .* A new certificate is there In use after the next graceful restart",
        "failing.example.org": r"failing .* The last attempt failed: No valid A record found for failing.example.org Next attempt in ~\d+ minutes, after 3 failures in a row",
        "expired.example.org": r"expired .* until .* expired 3 days ago .* is a firewall or a proxy in the way\? Next attempt in ~5 hours, after 14 failures in a row",
        "first.example.org": "no certificate yet .* status 404",
        "new.example.org": "no certificate yet .* The renewal begins soon",
        "manual.example.org": "due, by hand .* You renew it: MDRenewMode is manual. Do it now.",
        "static.example.org": "due, by hand .* its certificates are files of yours. Do it now.",
        "no-dns.example.org": "failing .* Cannot be renewed: .* needs the challenge type 'dns-01'",
        "hostile.example.org": re.escape(HOSTILE),
        "many.example.org": "41 names",
        LONG: f"{LONG} www.{LONG}",
    }.items():
        assert re.search(said, cards[name]), (name, cards[name])

    assert len(cards) == 50
    assert "Domains 151 to 185 of 185, of 195 in all" in last.text and "wild.example.org" in _cards(last.text)
    assert "\t".join(("Domain", "State", "Names", "Valid", "Authority", "What happens")) in desktop.text
    assert "Managed Certificates" in status.text and HOSTILE in status.text
    # The table needs no more room than mod_status's own.
    assert status.needed == DESKTOP and not [each for each in status.out if "md_" in each]
    assert "<script" not in page + section
    assert "There are no managed domains. Add one with a directive such as MDomain www.example.org." in empty.text
    assert "Managed Certificates" not in gallery.section()


def test_links_and_the_form_lead_to_what_they_name(world: World) -> None:
    gallery = every_state(Gallery(world))
    gallery.httpd.config.http("deep.example.net", "<Location /status/page>", "SetHandler md-page", "</Location>")
    gallery.open()

    def get(path: str, host: str = "page.example.net") -> tuple[int, str]:
        answer = gallery.httpd.get(f"http://{host}{path}")
        return answer.status, answer.text

    status, page = get("/page")
    assert (status, "<title>(4) Managed Certificates, page.example.net</title>" in page) == (200, True)
    assert '<a href="./page/failing.example.org">' in page and '<a href="./failing.example.org">' in get("/page/")[1]
    for path in ("/page/failing.example.org", "/page/FAILING.example.org?refresh=7"):
        status, one = get(path)
        assert (status, "<h1>failing.example.org</h1>" in one, "urn:ietf:params:acme:error:dns" in one) == (200, True, True)
    assert gallery.httpd.get("http://page.example.net/page/failing.example.org?refresh=7").headers["Refresh"] == "7"
    assert gallery.httpd.get("http://page.example.net/page?refresh=1").headers["Refresh"] == "5"
    status, unknown = get("/page/nobody.example.org%3Cb%3E")
    assert (status, "There is no managed domain" in unknown, "<b>nobody" in unknown) == (404, True, False)
    status, failing = get("/page?state=failing&q=FAIL&sort=until&page=1")
    assert (status, re.findall('id="md-([^"]+)"', failing)) == (200, ["failing.example.org"])
    for query in ("state=%00", "page=-1", "sort=x", "refresh=x", "q=%ff%fe", "&=&=", f"q={'x' * 4000}", "%", "state=good&state="):
        assert get(f"/page?{query}")[0] == 200, query
    # A folder that does not exist is a part of the handler's own path.
    status, deep = get("/status/page", "deep.example.net")
    assert (status, "Domains 1 to 11 of 11" in deep) == (200, True)
    assert "<h1>new.example.org</h1>" in get("/status/page/new.example.org", "deep.example.net")[1]


def test_everybody_can_use_the_pages(world: World) -> None:
    """WCAG 2.2 AA, as far as axe-core sees it, in each width, in light and dark and on paper."""
    if not AXE.exists():
        pytest.skip((AXE.parent / "missing").read_text())
    gallery = many(awkward(every_state(Gallery(world))), 36)
    gallery.httpd.log.expects("AH10173")
    # Nobody answers about this certificate.
    gallery.httpd.log.expects("MD0031", optional=True)
    leaf = world.pki.ca("Issuer").intermediate("Issuing").leaf("c.example.org", ocsp_url="http://127.0.0.1:1/")
    files = (f"SSLCertificateFile {leaf.chain_file}", f"SSLCertificateKeyFile {leaf.key_file}")
    gallery.httpd.config.add("MDStapling on").https("c.example.org", *files)
    gallery.open()
    browser = Browser(world.sandbox.root / "browser")
    for path in ("?state=failing&sort=x", "?page=2", "?list=staplings", "/failing.example.org", "/many.example.org"):
        assert browser.judge(gallery.page(path), *VIEWS) == {}, path
    assert "Stapled certificates 1 to 1 of 1" in gallery.page("?list=staplings") and "Certificates without a good response" in gallery.page()
    # All rows, which takes longer.
    assert browser.judge(gallery.page(), *VIEWS[:3]) == {}
    spoiled = gallery.page().replace("--muted: #59626d", "--muted: #c9d2dd").replace('<html lang="en">', "<html>")
    [found] = browser.judge(spoiled, View(PHONE)).values()
    assert [each.split(":")[0] for each in found] == ["color-contrast", "html-has-lang"], "axe-core finds what is wrong"


def test_bars_can_be_told_from_what_is_beside_them() -> None:
    """WCAG 2.2, 1.4.11: a contrast of 3 to 1, which axe-core does not measure."""
    sheet = (REPO / "src/status/page.css").read_text()
    schemes = [dict(re.findall(r"--(\w+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", sheet, re.S)]
    assert len(schemes) == 2
    for scheme in schemes:
        for bar in ("past", "window", "warn", "bad", "line"):
            for ground in ("back", "card"):
                assert _contrast(scheme[bar], scheme[ground]) >= 3, (bar, ground, scheme[bar])


def _contrast(one: str, other: str) -> float:
    """The contrast of two colours, as WCAG defines it."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
        parts = [int(digits[place:place + 2], 16) / 255 for place in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
