"""server-status, md-page and certificate-status: for programs as by the C module, for people as a browser shows it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from harness.httpd import Httpd
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.pki import Leaf
from harness.world import World

NAME = "a.example.org"
_EXPIRED = "C takes the news of an end for the end of a renewal"
_STATIC = "C calls a certificate file by a type of key"
_FORGOTTEN = "with C a graceful restart forgets errors"
DIFFERENT = {
    "*.ca.url": "ours says from the start which of its CAs a domain uses",
    "*.renew-window-configured": "C does not say whether it is the default",
    **dict.fromkeys(["staged.*.renewal.last.detail", "staged.*.renewal.last.activity"], "the sentences are each module's own"),
    "staged.auto.ManagedDomain[[]4]ActivityLastDetail": "the sentences are each module's own",
    "staged.auto.ManagedDomain[[]4]ActivityLastProblem": "C prints (null) where it has none",
    "staged.*.renewal.last.problem": "C has none for a CA that is not there",
    **dict.fromkeys(["*.auto.ManagedDomain[[][5-8]]CA*", "*.ca.issuers.0"], "of certificates in files ours shows who issued them"),
    **dict.fromkeys(["*.auto.ManagedDomain[[]8]Status", "*.managed-domains.8.state-descr", "*.i.example.org.state-descr"], _STATIC),
    **dict.fromkeys(["*.auto.ManagedCertificatesReady", "*.auto.ManagedDomain[[]6]Activity*"], _EXPIRED),
    **dict.fromkeys(["*.managed-domains.6.renewal.*", "*.g.example.org.renewal.*"], _EXPIRED),
    **dict.fromkeys(["live.auto.ManagedCertificatesErrored", "live.auto.ManagedDomain[[]4]Activity*"], _FORGOTTEN),
    **dict.fromkeys(["live.listing.managed-domains.4.renewal.*", "live.single.d.example.org.renewal.*"], _FORGOTTEN),
}


def _auto(httpd: Httpd) -> dict[str, Any]:
    """The lines of `?auto` that are about certificates; names that come again get a number."""
    found: dict[str, Any] = {}
    for line in httpd.admin("/server-status?auto").text.splitlines():
        name, _, value = line.partition(": ")
        if name.startswith("Managed"):
            number = sum(1 for other in found if other == name or other.startswith(f"{name}#"))
            found[f"{name}#{number}" if number else name] = value
    return found


def _about(answers: dict[str, Any]) -> dict[str, Any]:
    """Without numbers that depend on the moment."""
    moving = re.compile(r"Activity(Renew|NextRun|Refresh)$")
    return {name: "<seconds>" if moving.search(name) else value for name, value in answers.items()}


def test_what_programs_read_is_that_of_the_c_module() -> None:
    def case(world: World) -> Any:
        httpd = world.httpd(world.pebble(nonce_reject=0, authz_reuse=0))
        httpd.log.expects("AH10085", "AH10056", "Unsuccessful", "setup ACME communications", "AH10045", "AH01909", optional=True)
        config = httpd.config
        # Ours shows what the CA suggests, when it has asked.
        config.add("MDServerStatus on", "MDInitialDelay 1h", "MDRetryDelay 1h", "MDRenewViaARI off").managed(NAME, "www.a.example.org")

        def domain(letter: str, *lines: str, host: str = "") -> str:
            name = f"{letter}.example.org"
            config.md_set(name, *lines).http(host or name).https(host or name)
            return name

        def static(*leaves: Leaf) -> list[str]:
            files = [(f"MDCertificateFile {leaf.cert_file}", f"MDCertificateKeyFile {leaf.key_file}") for leaf in leaves]
            return [line for pair in files for line in pair]

        ca, past = world.pki.ca(), datetime.now(timezone.utc) - timedelta(days=100)
        domain("b", "MDPrivateKeys rsa2048 secp384r1")
        domain("c", "MDRenewMode manual", "MDCertificateAuthority LetsEncrypt https://localhost:1/dir")
        domain("d", "MDCertificateAuthority https://localhost:1/dir")
        domain("e", *static(ca.leaf("e.example.org")))
        config.md_set("*.f.example.org", "MDRenewMode manual")
        domain("g", *static(ca.leaf("g.example.org", not_before=past, days=90)))
        domain("h", *static(ca.leaf("h.example.org"), ca.leaf("h.example.org", key="rsa2048")))
        domain("i", *static(ca.leaf("www.i.example.org")))
        domain("j", "MDCAChallenges dns-01", "MDMember *.j.example.org", f"MDChallengeDns01 {world.dns.command()}", host="www.j.example.org")
        domain("k", "MDMustStaple on", "MDRequireHttps permanent", "MDRenewWindow 5d", "MDWarnWindow 50%", "MDRenewMode manual")
        for number in range(20):
            domain(f"n{number}.many", "MDRenewMode manual")
        found: dict[str, Any] = {}

        def look(moment: str) -> None:
            listing = httpd.md_status()
            listing.pop("version")
            single = {md["name"]: httpd.md_status(md["name"]) for md in listing.get("managed-domains", [])}
            for md in single.values():
                if "log" in md.get("renewal", {}):
                    # What is in it is each module's own.
                    md["renewal"]["log"] = list(md["renewal"]["log"])
            found[moment] = {"auto": _about(_auto(httpd)), "listing": listing, "single": single}

        httpd.start()
        look("none")
        config.add("MDInitialDelay 0")
        httpd.restart().wait_staged(NAME, "b.example.org", "j.example.org")
        httpd.wait(lambda: httpd.md_status("d.example.org").get("renewal", {}).get("errors"))
        look("staged")
        config.add("MDInitialDelay 1h")
        httpd.graceful()
        look("live")
        config.clear().add("MDServerStatus on")
        httpd.graceful()
        look("empty")
        for moment, lines in (("off", ["MDServerStatus off"]), ("not set", [])):
            config.clear().add("MDInitialDelay 1h", *lines).managed(NAME)
            httpd.graceful()
            found[moment] = _about(_auto(httpd))
            assert not found[moment]
        # A host may set it for the server.
        config.clear().add("MDInitialDelay 1h").managed(NAME).http("other.example.org", "MDServerStatus on")
        httpd.graceful()
        assert _auto(httpd)["ManagedDomain[0]Domain"] == NAME
        return found

    Oracle().both(case, DIFFERENT)


_SENTENCES = "the sentences are each module's own"
STAPLED_DIFFERENT = {
    **dict.fromkeys(["auto.*ActivityLastDetail", "*.ocsp.renewal.last.detail", "*.ocsp.renewal.last.activity"], _SENTENCES),
    "auto.ManagedStapling[[]1]ActivityLastProblem": "C prints (null) where it has none",
    "*.ocsp.renewal.last.problem": "C has none for a response that is of no use",
    "auto.ManagedDomain[[]*]CA*": "of certificates in files ours shows who issued them",
    "*.good.example.org.0.ocsp.renewal.next-run": "ours says when it looks again",
    "*.ocsp.renewal.ocsp-failures.*": "with ours each certificate has a count of its own",
    "single.*.ocsp.renewal.log.entries.[1-9].*": "the steps of a request are not in the log of ours",
}


def test_what_programs_read_of_staplings_is_that_of_the_c_module() -> None:
    def case(world: World) -> Any:
        httpd, ca = world.httpd(), world.pki.ca().intermediate("Issuer")
        responder, mute = world.responder(ca), world.responder(ca)
        httpd.log.expects("MD0030", "MD0031", "AH10273", "AH10056", optional=True)
        httpd.config.add("MDServerStatus on", "MDStapling on", "MDInitialDelay 1h", "MDRetryDelay 1h")
        for name, asked in (("good", responder), ("mute", mute), ("off", responder), ("none", None)):
            leaf = ca.leaf(f"{name}.example.org", ocsp_url=asked and asked.url)
            files = (f"MDCertificateFile {leaf.chain_file}", f"MDCertificateKeyFile {leaf.key_file}")
            switch = ["MDStapling off"] if name == "off" else []
            httpd.config.md_set(f"{name}.example.org", *files, *switch).https(f"{name}.example.org", *(["MDStapling off"] if switch else []))
            responder.says(leaf)
        other = ca.leaf("other.example.org", ocsp_url=responder.url)
        responder.says(other, "revoked")
        httpd.config.https("other.example.org", f"SSLCertificateFile {other.chain_file}", f"SSLCertificateKeyFile {other.key_file}")
        httpd.start().wait(lambda: len(list(httpd.sandbox.ocsp().glob("*/ocsp-*.json"))) == 2, what="responses")
        # All children know of them.
        sums = [f"ManagedStaplings{each}" for each in ("Total", "OK", "Renew", "Errored")]
        httpd.wait(lambda: all([_auto(httpd)[each] for each in sums] == ["3", "1", "1", "1"] for _ in range(9)), what="status")
        auto = {name: re.sub(r":\d+/", ":<port>/", value) for name, value in _about(_auto(httpd)).items()}
        certificates = {md["name"]: md["cert"] for md in httpd.md_status()["managed-domains"]}
        return {"auto": auto, "listing": certificates, "single": {name: httpd.md_status(name)["cert"] for name in certificates}}

    Oracle("staplings").both(case, STAPLED_DIFFERENT)


def test_what_anybody_may_know_of_a_certificate_is_as_by_the_c_module() -> None:
    path = "/.httpd/certificate-status"

    def case(world: World) -> Any:
        httpd = world.httpd(world.pebble())
        httpd.log.expects("AH10085", optional=True)
        httpd.config.md_set(NAME, "MDPrivateKeys rsa2048 secp384r1").http(NAME).https(NAME).http("other.example.org")
        httpd.config.add("MDRenewWindow 100d")
        httpd.start().wait_staged(NAME)
        found: dict[str, Any] = {}
        for moment in ("first", "renewed", "off"):
            for url in (f"http://{NAME}", f"https://{NAME}", "http://other.example.org"):
                answer = httpd.get(url + path)
                document = answer.json() if answer.status == 200 else None
                found[f"{moment} {url}"] = (answer.status, answer.headers["Content-Type"] if document else None, document)
            found[f"{moment} POST"] = httpd.get(f"http://{NAME}{path}", method="POST").status
            found[f"{moment} below"] = httpd.get(f"http://{NAME}{path}/x").status
            if moment == "renewed":
                httpd.config.add("MDCertificateStatus off", "MDRenewWindow 33%")
            httpd.graceful()
            if moment == "first":
                httpd.wait_staged(NAME)
        return found

    # The host that has a placeholder only answers this and nothing else.
    Oracle().both(case)


@pytest.mark.module("ours")
def test_the_page_for_people_shows_all_and_escapes_everything(httpd: Httpd, world: World, pebble: Pebble) -> None:
    httpd.config.add("MDRetryDelay 1h").managed(NAME).managed("down.example.org")
    httpd.config.md_set("new.example.org", "MDCertificateAuthority https://localhost:1/dir?<script>").http("new.example.org").https("new.example.org")
    httpd.config.http("page.example.org", "<Location /page>", "SetHandler md-page", "</Location>")
    httpd.log.expects("AH10056")
    httpd.start().obtain(NAME, "down.example.org")
    httpd.wait(lambda: httpd.md_status("new.example.org").get("renewal", {}).get("errors"))
    page = httpd.get("http://page.example.org/page")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    httpd.config.add("MDServerStatus on")
    httpd.graceful()
    httpd.wait(lambda: httpd.md_status("new.example.org").get("renewal", {}).get("errors"))
    section = httpd.admin("/server-status").text
    common = (NAME, "good", "&lt;script&gt;")
    for text, parts in (
        (page.text, (*common, "no certificate yet", "Next attempt", "The last attempt failed: ")),
        (section, (*common, "incomplete: certificate(rsa) is missing", "crt.sh[rsa]", "Next run", "Error[Connection refused]")),
        (httpd.get("http://page.example.org/page/new.example.org").text, ("no certificate yet", "transport-connect", "Error: Connection refused.")),
        (httpd.get(f"http://page.example.org/page/{NAME}").text, (NAME, "good", "crt.sh (rsa)", "md_life")),
    ):
        assert "<script" not in text
        for part in parts:
            assert part in text, part
    assert page.text.count("md_life") > 2 and section.count("md_life") > 2
    assert "<h3>Managed Certificates</h3>" in section
    assert re.search(r"<table class=.md_status.>", section)
    headings = re.findall(r'<th class="(\w+)">(\w+)</th>', section)
    assert headings == [(name, name) for name in ("Domain", "Names", "Status", "Valid", "CA", "Stapling", "CheckAt", "Activity")]
    assert httpd.get("http://page.example.org/page", method="POST").status == 501


@pytest.mark.module("ours")
def test_server_status_is_short_unless_it_is_to_show_all(lone_httpd: Httpd, world: World) -> None:
    httpd, ca = lone_httpd, world.pki.ca()
    httpd.config.add("MDCertificateAuthority https://ca.invalid/dir", "MDInitialDelay 1h")
    for name, days in (("early", 50), ("late", 60)):
        leaf = ca.leaf(f"{name}.example.org", days=days)
        files = (f"MDCertificateFile {leaf.cert_file}", f"MDCertificateKeyFile {leaf.key_file}")
        httpd.config.md_set(f"{name}.example.org", *files).https(f"{name}.example.org")
    for number in range(8):
        httpd.config.md_set(f"n{number}.example.org", "MDRenewMode manual")
    httpd.log.expects("AH10045")

    def summary(host: str = "page.example.org") -> str:
        text = httpd.get(f"http://{host}/status").text
        assert "md_life" not in text and "<table class=\"md_" not in text and "ca.invalid" not in text
        return text[text.index("<h3>Managed") :]

    def status(path: str, handler: str) -> tuple[str, ...]:
        return (f"<Location {path}>", f"SetHandler {handler}", "</Location>")

    httpd.config.http("page.example.org", *status("/status", "server-status"), *status("/all/page", "md-page"))
    httpd.config.http("json.example.org", *status("/status", "server-status"), *status("/json", "md-status"))
    httpd.config.http("none.example.org", *status("/status", "server-status"), *status("/what?ever", "md-page"))
    httpd.start()
    text = summary()
    assert "<dt>Managed domains: 10, with problems: 8</dt>" in text
    assert "<dt>8 without a valid certificate: <a href=\"/all/page/n0.example.org\">n0.example.org</a>, " in text
    assert "n5.example.org</a> and 2 more</dt>" in text
    assert "<dt>2 good</dt>" in text
    assert re.search(r"Next expiry: <a href=./all/page/early.example.org.>early.example.org</a>, 20\S+ \(\d+ days left\)", text)
    assert "All domains: <a href=\"/all/page\">/all/page</a>" in text and "Stapled" not in text
    assert "<a href=\"/json/n0.example.org\">" in (text := summary("json.example.org")) and "<a href=\"/json\">/json</a>" in text
    assert "<a " not in (text := summary("none.example.org")) and "<code>MDServerStatus on</code>" in text
    for path in ("/all/page", "/all/page/n0.example.org", "/json/n0.example.org"):
        assert httpd.get(f"http://{'page' if 'page' in path else 'json'}.example.org{path}").status == 200

    httpd.config.add("MDServerStatus off")
    httpd.graceful()
    assert "Managed" not in httpd.get("http://page.example.org/status").text


@pytest.mark.module("ours")
def test_of_certificates_in_files_it_is_shown_who_issued_them(lone_httpd: Httpd, world: World) -> None:
    httpd, leaf = lone_httpd, world.pki.ca("Old & Sons").leaf(NAME)
    files = [f"MDCertificateFile {leaf.cert_file}", f"MDCertificateKeyFile {leaf.key_file}"]
    httpd.config.add("MDCertificateAuthority https://ca.invalid/dir", "MDInitialDelay 1h", "MDServerStatus on")
    httpd.config.md_set(NAME, *files).https(NAME).http("page.example.org", "<Location /page>", "SetHandler md-page", "</Location>")
    httpd.start()
    issuer = httpd.md_status(NAME)["cert"]["0"]["issuer-name"]
    assert issuer.endswith("Old & Sons")
    ca = httpd.md_status(NAME)["ca"]
    assert (ca["issuers"], "url" in ca) == ([issuer], False)
    lines = _auto(httpd)
    assert (lines["ManagedDomain[0]CAName"], "ManagedDomain[0]CAURL" in lines) == (issuer, False)
    cells = ('<td role="cell" data-label="Authority">', '<td class="CA">')
    for page, cell in zip((httpd.get("http://page.example.org/page").text, httpd.admin("/server-status").text), cells, strict=True):
        assert f'{cell}{issuer.replace("&", "&amp;")} </td>' in page
        assert "ca.invalid" not in page
