"""Directives in a real server: where they count, what they do, and that the C module understands them alike."""

from __future__ import annotations

from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from harness.httpd import Httpd
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

NOBODY = "MDCertificateAuthority https://localhost:1/dir"


def _stored(httpd: Httpd) -> dict[str, Any]:
    """Configuration in the store after a start without renewals."""
    httpd.start()
    names = [md["name"] for md in httpd.md_status()["managed-domains"]]
    return {"md": {name: httpd.sandbox.md_json(name) for name in names}, "watched": _watched(httpd)}


def _watched(httpd: Httpd) -> dict[str, bool]:
    return {md["name"]: md["watched"] for md in httpd.md_status()["managed-domains"]}


def test_a_section_has_settings_of_its_own_and_inherits_from_the_main_server_only() -> None:
    def case(world: World) -> Any:
        httpd = world.httpd()
        httpd.config.add(
            NOBODY,
            "MDRenewMode manual",
            "MDRenewWindow 20d",
            "MDContactEmail main@example.org",
            "MDCertificateAgreement https://ca.example.org/terms",
            "MDPrivateKeys RSA 2048",
            "MDCAChallenges http-01",
            "MDMembers manual",
        )
        httpd.config.md("plain.example.org", "www.plain.example.org")
        httpd.config.md_set(
            "own.example.org",
            "MDMember mail.own.example.org",
            "MDMembers www.own.example.org auto",
            "MDCertificateAuthority letsencrypt-test https://ca.example.org/dir",
            "MDCertificateAgreement accepted",
            "MDContactEmail own@example.org",
            "MDPrivateKeys secp384r1 RSA 3072",
            "MDCAChallenges dns-01 http-01",
            "MDRenewMode always",
            "MDRenewMode stick",
            "MDRenewWindow 10%",
        )
        httpd.config.add("<MDomain second.example.org manual>", "  MDDriveMode manual", "</MDomain>")
        # Not inside a domain's section: without effect on any.
        httpd.config.https("plain.example.org", "MDRenewWindow 5d", "MDPrivateKeys P-256", aliases=["more.example.org"])
        httpd.config.https("own.example.org", "MDomain late.example.org", "MDRenewWindow 6d", aliases=["more.own.example.org"])
        httpd.log.expects("AH10040")
        httpd.log.expects("AH10045", "AH10085", optional=True)
        return _stored(httpd)

    # In C it becomes known with the first renewal; scripts that read it find it always.
    differences = {
        "md.*.ca.url": "ours says from the start which of its CAs a domain uses",
        "md.*.renew-window-configured": "C does not say whether it is the default",
    }
    mds = Oracle().both(case, differences)["md"]
    plain, own, second = (mds[f"{name}.example.org"] for name in ("plain", "own", "second"))
    assert plain["contacts"] == second["contacts"] == ["mailto:main@example.org"]
    assert plain["renew-window"] == second["renew-window"] == mds["late.example.org"]["renew-window"] == "20d"
    assert plain["privkey"] == {"type": "RSA", "bits": 2048}
    assert plain["domains"] == ["plain.example.org", "www.plain.example.org"]
    assert own["domains"] == ["own.example.org", "mail.own.example.org", "www.own.example.org", "more.own.example.org"]
    assert own["ca"]["urls"] == ["https://acme-staging-v02.api.letsencrypt.org/directory", "https://ca.example.org/dir"]
    assert own["ca"]["url"] == own["ca"]["urls"][0]
    assert own["privkey"] == [{"type": "EC", "curve": "secp384r1"}, {"type": "RSA", "bits": 3072}]
    assert (own["renew-window"], own["renew-mode"]) == ("10%", 0)


def test_contacts_come_from_the_host_where_nothing_else_says_them() -> None:
    def case(world: World) -> Any:
        httpd = world.httpd()
        httpd.config.add(NOBODY, "MDRenewMode manual")
        httpd.config.md("a.example.org").http("a.example.org", "MDContactEmail host@example.org", "ServerAdmin admin@example.org")
        httpd.config.md("b.example.org").http("b.example.org", "ServerAdmin admin@example.org")
        httpd.config.md("c.example.org").http("c.example.org")
        found = {name: md["contacts"] for name, md in _stored(httpd)["md"].items()}
        assert httpd.log.find("AH10044") and httpd.log.find("AH10237")
        # With one for the whole server that one counts.
        httpd.config.add("ServerAdmin main@example.org")
        httpd.graceful()
        return found, {name: httpd.sandbox.md_json(name)["contacts"] for name in found}

    by_host, by_server = Oracle().both(case)
    assert list(by_host.values()) == [["mailto:host@example.org"], ["mailto:admin@example.org"], []]
    assert list(by_server.values()) == [["mailto:main@example.org"]] * 3


def test_hosts_match_by_all_their_names_or_their_server_name() -> None:
    def case(world: World) -> Any:
        found = {}
        for mode in ("all", "servernames"):
            httpd = world.httpd()
            httpd.config.add(NOBODY, "MDRenewMode auto", f"MDMatchNames {mode}", "MDCAChallenges http-01")
            httpd.config.add(f"MDPortMap http:{httpd.config.http_port} https:-")
            # By an alias, by a pattern among the aliases, by a wildcard of the domain, by none.
            httpd.config.md("alias.example.org").http("one.example.com", aliases=["alias.example.org"])
            httpd.config.md("www.pattern.example.org").http("two.example.com", aliases=["*.pattern.example.org"])
            httpd.config.add("<MDomain *.wild.example.org>", "  MDCAChallenges dns-01", "</MDomain>")
            httpd.config.http("host.wild.example.org")
            httpd.config.md("none.example.org").http("deep.none.example.org")
            httpd.log.expects("AH10045")
            httpd.log.expects("AH10173", "AH10056", "processing ", "://localhost:1/dir", "md[", "challenge", optional=True)
            httpd.start()
            found[mode] = _watched(httpd)
            httpd.stop()
        return found

    found = Oracle().both(case)
    assert found["all"] == {
        "*.wild.example.org": True,
        "alias.example.org": True,
        "none.example.org": False,
        "www.pattern.example.org": True,
    }
    assert [name for name, watched in found["servernames"].items() if watched] == ["*.wild.example.org"]


@pytest.mark.parametrize("base", ["on", "off"])
def test_the_main_server_belongs_to_a_domain_only_with_base_server_on(base: str) -> None:
    def case(world: World) -> Any:
        httpd = world.httpd()
        httpd.config.add(NOBODY, f"MDBaseServer {base}", "MDomain server.invalid", "MDCAChallenges http-01")
        httpd.config.add(f"MDPortMap http:{httpd.config.http_port} https:-")
        httpd.log.expects("AH10045", "MD0006", "AH10056", "processing ", "://localhost:1/dir", optional=True)
        httpd.start()
        return _watched(httpd)

    assert Oracle().both(case) == {"server.invalid": base == "on"}


def test_without_a_usable_challenge_the_start_says_so_and_nobody_is_asked(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDPortMap http:- https:-").managed("a.example.org")
    httpd.config.md_set("b.example.org", "MDCAChallenges foo-99 bar").http("b.example.org")
    httpd.log.expects("AH10173", "MD0093", "processing a.example.org", "processing b.example.org")
    httpd.start()
    said = {line.text.split()[1]: line.text for line in httpd.log.find("AH10173")}
    assert "reachable on port 80 (see MDPortMap and Listen)" in said["a.example.org:"]
    assert "'foo-99' of MDCAChallenges is not supported" in said["b.example.org:"]
    for name in ("a.example.org", "b.example.org"):
        httpd.wait(lambda name=name: httpd.md_status(name).get("renewal", {}).get("errors"), what=f"errors of {name}")
        assert "None of the ACME challenge methods" in httpd.log.find(f"processing {name}")[0].text
    assert not pebble.requests("/sign-me-up")


def test_key_types_modes_and_names_of_certificates(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    two, ec, always, manual, idn = (f"{name}.example.org" for name in ("two", "ec", "always", "manual", "xn--bcher-kva"))
    httpd.config.md_set(two, "MDPrivateKeys RSA secp384r1").http(two).https(two)
    httpd.config.md_set(ec, "MDPrivateKeys P-256").http(ec).https(ec)
    httpd.config.md_set(always, "MDRenewMode always")
    httpd.config.md_set(manual, "MDRenewMode manual").http(manual).https(manual)
    httpd.config.md("bücher.example.org").http(idn).https(idn)
    httpd.start().obtain(two, ec, always, idn)

    assert {path.name for path in sandbox.domains(two).glob("p*.pem")} == {
        "privkey.pem",
        "pubcert.pem",
        "privkey.secp384r1.pem",
        "pubcert.secp384r1.pem",
    }
    by_ec = httpd.served(two, sigalgs="ECDSA+SHA384", ca=pebble.root)
    by_rsa = httpd.served(two, sigalgs="RSA-PSS+SHA256:RSA+SHA256", ca=pebble.root)
    assert (by_ec.leaf.key_type, by_ec.verified, by_rsa.leaf.key_type, by_rsa.verified) == ("secp384r1", True, "rsa2048", True)
    certs = httpd.md_status(two)["cert"]
    assert (certs["secp384r1"]["serial"], certs["rsa"]["serial"]) == (by_ec.leaf.serial, by_rsa.leaf.serial)

    only = httpd.served(ec, ca=pebble.root)
    assert (only.leaf.key_type, only.verified) == ("secp256r1", True)
    assert list(httpd.md_status(ec)["cert"]) == ["P-256", "valid"]

    assert sandbox.domains(always).joinpath("pubcert.pem").exists()
    status = httpd.md_status(manual)
    assert (status["renew-mode"], status["watched"], status["cert"]) == (0, True, {})
    assert "renewal" not in status
    assert httpd.get(f"https://{manual}/").status == 503

    international = httpd.served(idn, ca=pebble.root)
    assert (international.verified, international.names) == (True, [idn])
    assert pebble.new_accounts == 1


def test_members_are_added_by_tls_hosts_only_and_get_into_the_certificate(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.md("a.example.org", "auto").https("a.example.org", aliases=["www.a.example.org", "*.pattern.example.org"])
    httpd.config.http("a.example.org", aliases=["plain.a.example.org", "www.a.example.org"])
    httpd.start().obtain("a.example.org")
    assert httpd.served("www.a.example.org", ca=pebble.root).verified
    assert httpd.served("a.example.org").names == ["a.example.org", "www.a.example.org"]
    assert httpd.md_status("a.example.org")["domains"] == ["a.example.org", "www.a.example.org"]


@pytest.mark.pebble(profiles={"default": 3600})
def test_a_renewal_comes_due_in_its_window_while_the_old_certificate_serves(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    # Pebble's advice for certificates that live so short is any moment of two days.
    httpd.config.add("MDRenewViaARI off", "MDRenewWindow 40%").managed("a.example.org")
    httpd.start().obtain("a.example.org")
    first = httpd.served("a.example.org").leaf
    status = httpd.md_status("a.example.org")
    renew_at = parsedate_to_datetime(status["renew-at"])
    assert abs(first.not_after - renew_at - (first.not_after - first.not_before) * 0.4) <= timedelta(seconds=2)
    assert "renew" not in status
    orders = len(pebble.requests("/order-plz"))

    # Whoever looks every second does not find it due.
    looks = httpd.log.count("AH10107")
    httpd.wait_log("AH10107", times=looks + 2)
    assert len(pebble.requests("/order-plz")) == orders

    httpd.config.add("MDRenewWindow 2h")
    httpd.graceful().wait_staged("a.example.org")
    assert httpd.md_status("a.example.org")["renew"] is True
    assert httpd.served("a.example.org").leaf == first
    assert httpd.get("https://a.example.org/", ca=pebble.root).status == 200

    httpd.config.add("MDRenewWindow 40%")
    httpd.graceful()
    second = httpd.served("a.example.org", ca=pebble.root)
    assert second.verified
    assert second.leaf != first
    archived = [path.read_text() for path in sandbox.archive().glob("a.example.org.*/pubcert.pem")]
    assert [first.pem in chain for chain in archived] == [True]
    assert "renew" not in httpd.md_status("a.example.org")


def test_the_retry_delay_is_the_wait_after_the_first_failure(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDRetryDelay 1000s", "MDCheckInterval 10000s", NOBODY).managed("a.example.org")
    httpd.log.expects("processing a.example.org")
    httpd.start().wait_log("AH10057")
    job = httpd.wait(lambda: _with_next_run(httpd), what="time of the next run")
    wait = parsedate_to_datetime(job["next-run"]) - parsedate_to_datetime(job["last-run"])
    # Up to a half more, and the seconds that the attempt took.
    assert timedelta(seconds=1000) <= wait <= timedelta(seconds=1600)
    assert job["errors"] == 1


def _with_next_run(httpd: Httpd) -> dict[str, Any] | None:
    job = httpd.md_status("a.example.org")["renewal"]
    return job if "next-run" in job else None


def test_a_file_of_trusted_roots_for_one_domain_overrides_the_global_one(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDCACertificateFile none")
    trusting = [f"MDCACertificateFile {pebble.trust}"]
    httpd.config.md_set("own.example.org", *trusting).http("own.example.org").https("own.example.org")
    httpd.config.managed("global.example.org")
    httpd.log.expects("processing global.example.org")
    httpd.start().obtain("own.example.org")
    assert httpd.served("own.example.org", ca=pebble.root).verified
    httpd.wait_log("processing global.example.org")
    assert "MDCACertificateFile" in httpd.log.find("processing global.example.org")[0].text

    # A file for all, and a domain that wants the system's roots.
    httpd.config.add(*trusting).md_set("none.example.org", "MDCACertificateFile none").http("none.example.org")
    httpd.log.expects("processing none.example.org")
    httpd.graceful().obtain("global.example.org")
    assert httpd.served("global.example.org", ca=pebble.root).verified
    httpd.wait_log("processing none.example.org")
