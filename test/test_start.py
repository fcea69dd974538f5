"""A start without certificates, with a CA that is wrong or away: the server runs, says what is wrong, and recovers."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from harness.httpd import Httpd
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

UNKNOWN_CHALLENGE = "https://a.example.org/.well-known/acme-challenge/unknown"


def test_https_says_503_before_the_first_certificate_and_200_after(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.load("http2").add("Protocols h2 http/1.1").managed("a.example.org")
    httpd.start()

    page = httpd.get("https://a.example.org/")
    assert page.status == 503
    assert int(page.headers["Retry-After"]) > 0
    # The page of a host that nobody asked for in the handshake.
    nameless = httpd.get("https://127.0.0.1/")
    assert (nameless.status, nameless.headers["Retry-After"]) == (503, page.headers["Retry-After"])
    assert httpd.served(None).names == ["a.example.org"]
    h2 = httpd.get_h2("https://a.example.org/")
    assert (h2.status, h2.headers["Retry-After"]) == (503, page.headers["Retry-After"])
    assert httpd.get("http://a.example.org/").status == 200
    assert httpd.get(UNKNOWN_CHALLENGE).status == 404
    assert httpd.get_h2(UNKNOWN_CHALLENGE).status == 404

    httpd.obtain("a.example.org")
    assert httpd.get("https://a.example.org/", ca=pebble.root).status == 200
    assert httpd.get("https://127.0.0.1/").status == 200
    assert httpd.get_h2("https://a.example.org/").status == 200


def test_hosts_that_are_not_managed_or_have_a_certificate_serve_as_before(world: World, httpd: Httpd) -> None:
    leaf = world.pki.ca("by hand").leaf("a.example.org", "other.example.org")
    own = [f"SSLCertificateFile {leaf.chain_file}", f"SSLCertificateKeyFile {leaf.key_file}"]
    httpd.config.add("MDRenewMode manual").md("a.example.org").http("a.example.org")
    httpd.config.https("a.example.org", *own).https("other.example.org", *own)
    httpd.start()
    for name in ("a.example.org", "other.example.org"):
        page = httpd.get(f"https://{name}/")
        assert (page.status, page.text) == (200, name)
        assert page.certificate == leaf.certificate
    assert httpd.md_status("a.example.org")["domains"] == ["a.example.org"]
    assert httpd.log.count("AH10084") >= 1


def test_a_wrong_ca_is_reported_while_the_server_runs(httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox) -> None:
    no_ca = world.recorder().says(200, b"<html>welcome</html>", Content_Type="text/html")
    wrong = {
        "page.example.org": (no_ca.url, pebble.trust, "Unable to understand ACME server response"),
        "path.example.org": (f"{pebble.directory}-no", pebble.trust, "HTTP status 404"),
        "away.example.org": ("https://localhost:1/dir", pebble.trust, "no connection to localhost"),
        "untrusted.example.org": (pebble.directory, "none", "MDCACertificateFile"),
        "file.example.org": (pebble.directory, "/nowhere/roots.pem", "/nowhere/roots.pem of trusted CAs cannot be used"),
    }
    for name, (url, trust, _) in wrong.items():
        httpd.config.md_set(name, f"MDCertificateAuthority {url}", f"MDCACertificateFile {trust}").http(name).https(name)
    httpd.log.expects(*(f"processing {name}:" for name in wrong))
    httpd.log.expects("MD0080", "MD0094", optional=True)
    httpd.start()

    for name, (_, _, phrase) in wrong.items():
        httpd.wait(lambda name=name: httpd.md_status(name).get("renewal", {}).get("errors"), what=f"errors of {name}")
        assert httpd.get(f"http://{name}/").status == 200
        assert httpd.get(f"https://{name}/").status == 503
        assert phrase in httpd.log.find(f"AH10056: processing {name}:")[0].text
        assert httpd.log.find(f"AH10057: {name}: encountered error")
        # Read once: a run in progress takes the result away until it has its own.
        renewal = httpd.wait(lambda name=name: _failed(httpd.md_status(name)["renewal"]), what=f"report on {name}")
        assert phrase in renewal["last"]["detail"]
        assert renewal["last"]["status"] != 0
        assert parsedate_to_datetime(renewal["next-run"]) > parsedate_to_datetime(renewal["last-run"])
        assert not renewal["finished"]
        assert [entry["type"] for entry in renewal["log"]["entries"]].count("renewal-error") >= 1
        job = httpd.wait(lambda name=name: _failed(sandbox.job(name)), what=f"job of {name}")
        assert phrase in job["last"]["detail"]
        assert "renewal" in httpd.md_status(name)


def _failed(job: dict) -> dict | None:
    return job if "next-run" in job and "detail" in job.get("last", {}) else None


def test_a_missing_agreement_is_said_and_tried_again_daily(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.defaults = [line for line in httpd.config.defaults if not line.startswith("MDCertificateAgreement")]
    httpd.config.managed("a.example.org")
    httpd.log.expects("processing a.example.org:")
    httpd.start()
    job = httpd.wait(lambda: _failed(httpd.md_status("a.example.org").get("renewal", {})), what="report")
    assert "the CA requires you to accept the terms-of-service as specified in" in job["last"]["detail"]
    wait = parsedate_to_datetime(job["next-run"]) - parsedate_to_datetime(job["last-run"])
    assert wait.total_seconds() > 11 * 3600
    assert pebble.new_accounts == 0

    # The words say a graceful restart is enough.
    httpd.config.add("MDCertificateAgreement accepted")
    httpd.graceful().obtain("a.example.org")


def test_a_ca_that_is_down_at_the_start_is_asked_until_it_is_up(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.managed("a.example.org")
    httpd.log.expects("AH10056")
    pebble.kill()
    httpd.start().wait_log("AH10057")
    assert httpd.get("https://a.example.org/").status == 503
    httpd.stop()
    httpd.start()
    assert "a.example.org: the renewal had" in httpd.log.find("AH10064")[0].text

    pebble.start()
    httpd.obtain("a.example.org")
    assert httpd.served("a.example.org", ca=pebble.root).verified


def test_errors_are_counted_per_domain_over_a_graceful_restart_and_afresh_after_a_start(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDRetryDelay 1000s").managed("good.example.org")
    httpd.config.md_set("bad.example.org", "MDCertificateAuthority https://localhost:1/dir").http("bad.example.org")
    httpd.log.expects("processing bad.example.org", "AH10064")

    def errors() -> int:
        job = httpd.wait(lambda: _failed(httpd.md_status("bad.example.org").get("renewal", {})), what="report")
        return job["errors"]

    httpd.start().wait_staged("good.example.org")
    assert errors() == 1
    httpd.graceful()
    assert httpd.served("good.example.org", ca=pebble.root).verified
    assert "renewal" not in httpd.md_status("good.example.org")
    # The new child looked and found that it is too early.
    httpd.wait_log("AH10107", times=httpd.log.count("AH10107") + 2)
    assert (errors(), httpd.log.count("AH10056"), httpd.log.count("AH10064")) == (1, 1, 0)

    httpd.stop()
    httpd.start().wait_log("AH10056", times=2)
    assert httpd.log.find("AH10064")[0].text.count("bad.example.org") == 1
    assert errors() == 1


def test_a_server_with_certificates_starts_and_serves_while_the_ca_is_down(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.managed("a.example.org")
    httpd.start().obtain("a.example.org")
    before = httpd.served("a.example.org").leaf

    pebble.kill()
    httpd.graceful()
    httpd.stop()
    httpd.start()
    assert httpd.served("a.example.org").leaf == before
    assert httpd.get("https://a.example.org/").status == 200


LIFE = (
    *("AH10037", "AH10039", "AH10041", "AH10052", "AH10054", "AH10055", "AH10059", "AH10068", "AH10070", "AH10071"),
    *("AH10074", "AH10077", "AH10107", "AH10113", "AH10116", "AH10512", "AH10513", "AH10516"),
)


def test_the_log_of_a_first_certificate_has_the_numbers_of_the_c_module() -> None:
    def case(world: World) -> dict[str, str]:
        httpd = world.httpd(world.pebble(nonce_reject=0, authz_reuse=0))
        httpd.config.log_level = "info md:trace2"
        httpd.config.managed("a.example.org")
        httpd.start().obtain("a.example.org")
        # A whole run of the new child, which may have begun its first.
        httpd.wait_log("AH10107", times=httpd.log.count("AH10107") + 2)
        numbers = re.findall(r"\[md:(\w+)\] .*?\b(AH\d{5}): ", "\n".join(map(str, httpd.log.lines)))
        # Whether a child that stops has time for it is chance.
        # C says some at a lower level too, when it only tries the configuration.
        levels = {number: level for level, number in sorted(numbers, reverse=True) if number != "AH10058"}
        return dict(sorted(levels.items()))

    ours = Oracle().both(case, {"AH10067": "C says it of success too"})
    # Both say them, which being equal alone does not tell.
    assert set(LIFE) <= set(ours)
