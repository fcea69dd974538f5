"""server-status, md-page and certificate-status: for programs as by the C module, for people as a browser shows it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.httpd import Httpd
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.world import World

NAME = "a.example.org"
DIFFERENT = {
    "staged.ManagedDomain[[]4]ActivityLastProblem": "C prints (null) where there is none",
    "staged.ManagedDomain[[]4]ActivityLastDetail": "the sentences are each module's own",
    **{
        f"live.{name}": "with C a graceful restart forgets errors"
        for name in ("ManagedCertificatesErrored", *(f"ManagedDomain[[]4]Activity{kind}" for kind in ("", "LastStatus", "Finished", "LastDetail", "NextRun")))
    },
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
    moving = re.compile(r"Activity(Renew|NextRun)$")
    return {name: "<seconds>" if moving.search(name) else value for name, value in answers.items()}


def test_the_lines_for_programs_are_those_of_the_c_module() -> None:
    def case(world: World) -> Any:
        httpd = world.httpd(world.pebble())
        httpd.log.expects("AH10085", "AH10056", "Unsuccessful", "AH10045", "MD0007", optional=True)
        leaf = world.pki.ca().leaf("e.example.org")
        httpd.config.add("MDServerStatus on", "MDInitialDelay 1h", "MDRetryDelay 1h").managed(NAME, "www.a.example.org")
        httpd.config.md_set("b.example.org", "MDPrivateKeys rsa2048 secp384r1").http("b.example.org").https("b.example.org")
        httpd.config.md_set("c.example.org", "MDRenewMode manual", "MDCertificateAuthority LetsEncrypt https://localhost:1/dir")
        httpd.config.http("c.example.org").https("c.example.org")
        httpd.config.md_set("d.example.org", "MDCertificateAuthority https://localhost:1/dir").http("d.example.org").https("d.example.org")
        httpd.config.md_set("e.example.org", f"MDCertificateFile {leaf.cert_file}", f"MDCertificateKeyFile {leaf.key_file}")
        httpd.config.http("e.example.org").https("e.example.org")
        httpd.config.md_set("*.f.example.org", "MDRenewMode manual")
        httpd.start()
        found = {"none": _about(_auto(httpd))}
        httpd.config.add("MDInitialDelay 0")
        httpd.restart().wait_staged(NAME, "b.example.org")
        httpd.wait(lambda: httpd.md_status("d.example.org").get("renewal", {}).get("errors"))
        found["staged"] = _about(_auto(httpd))
        httpd.graceful()
        found["live"] = _about(_auto(httpd))
        httpd.config.clear().add("MDServerStatus on")
        httpd.graceful()
        found["empty"] = _about(_auto(httpd))
        httpd.config.add("MDServerStatus off")
        httpd.graceful()
        found["off"] = _about(_auto(httpd))
        return found

    Oracle().both(case, DIFFERENT)


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
    section = httpd.admin("/server-status").text
    for text in (page.text, section):
        assert "<script" not in text and "&lt;script&gt;" in text
        for part in (NAME, "good", "incomplete: certificate(rsa) is missing", "crt.sh[rsa]", "Next run", "Error[Connection refused]"):
            assert part in text, part
        assert text.count("md_life") > 2
    assert "<h3>Managed Certificates</h3>" in section
    assert re.search(r"<table class=.md_status.>", section)
    headings = re.findall(r'<th class="(\w+)">(\w+)</th>', section)
    assert headings == [(name, name) for name in ("Domain", "Names", "Status", "Valid", "CA", "Stapling", "CheckAt", "Activity")]
    assert httpd.get("http://page.example.org/page", method="POST").status == 501
