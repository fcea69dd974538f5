"""Spellings of a name in MDomain, hosts and requests: all of them are one domain, one identifier, one certificate name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.httpd import Httpd
from harness.module import Module
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

U, A = "müller.idn.example.org", "xn--mller-kva.idn.example.org"
DOT, DUP, FIRST = "dot.www.example.org", "dup.www.example.org", "first.www.example.org"
BARE = ("AH02572", "AH02312", "SSL Library Error", "AH00016", "AH00020")
"""Messages of mod_ssl and httpd about a TLS host without a certificate at a start."""


def _names(sandbox: Sandbox, domain: str) -> list[str]:
    names: list[str] = sandbox.md_json(domain)["domains"]
    return names


def _offline(httpd: Httpd) -> Httpd:
    """Domains that nobody is asked for."""
    httpd.config.defaults = ["MDCertificateAuthority https://localhost:1/dir", "MDRenewMode manual"]
    return httpd


@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
def test_hosts_are_matched_however_they_are_written(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    def _hosts(*aliases: str) -> None:
        config = httpd.config.clear().md(FIRST).https(FIRST)
        config.md_set(U, "MDRequireHttps temporary").https(U.upper(), aliases=[f"{U}.", *aliases])
        config.http(U, "UseCanonicalName on", aliases=[A])
        config.md(f"{DOT}.").https(f"{DOT}.", aliases=[f"*.{DOT}:443"])
        config.md(f"{DUP}:443").https(DUP, aliases=[f"{DUP}.", DUP.upper(), f"{DUP}:443", f"{DUP}."])

    # As a server would be that gets them at a reload.
    httpd.config.md(FIRST).https(FIRST)
    httpd.start().obtain(FIRST)
    _hosts()
    for name in (A, DOT):
        httpd.log.expects(f"clients ask for {name}, which httpd does not find by")
    # mod_ssl compares text, too.
    httpd.log.expects("AH01909")
    checked = httpd.configtest()
    assert checked.ok
    assert checked.text.count("MD0056") == 2
    httpd.graceful().obtain(A, DOT, DUP)
    assert {name: _names(sandbox, name) for name in (A, DOT, DUP)} == {name: [name] for name in (A, DOT, DUP)}
    # A certificate has each name once, or the CA has refused the order.
    assert httpd.served(DUP, ca=pebble.root).names == [DUP]
    assert httpd.served(DUP.upper(), ca=pebble.root).names == [DUP]

    # As the message says, httpd does not find the hosts by what clients send, but with the remedy it does.
    assert {name: httpd.served(name).names for name in (A, DOT)} == {A: [FIRST], DOT: [FIRST]}
    _hosts(A)
    assert httpd.configtest().text.count("MD0056") == 1
    httpd.graceful()
    served = httpd.served(A, ca=pebble.root)
    assert (served.names, served.verified) == ([A], True)
    assert httpd.get(f"https://{A}/", ca=pebble.root).status == 200
    assert _names(sandbox, A) == [A]

    # Clients may write it as they like, too.
    status = "/.httpd/certificate-status"
    for host in (A, A.upper(), f"{A}."):
        assert httpd.get(f"http://{A}{status}", headers={"Host": host}).status == 200, host
        moved = httpd.get(f"http://{A}/page?x", headers={"Host": host})
        assert (moved.status, moved.headers["Location"]) == (302, f"https://{A}/page?x")
    assert {md["name"] for md in httpd.md_status()["managed-domains"]} == {FIRST, A, DOT, DUP}
    assert httpd.md_status("M%C3%9CLLER.idn.example.org.")["name"] == A


LOST: dict[str, tuple[Callable[[Httpd], object], str]] = {
    "no spelling of one name": (
        lambda httpd: httpd.config.md("typed.www.example.org").https("typo.www.example.org"),
        "host and Managed Domain have no name in common",
    ),
    "a URL in place of a name": (
        lambda httpd: httpd.config.md("url.www.example.org").https("x.www.example.org", aliases=["https://url.www.example.org"]),
        "the host's name https://url.www.example.org differs from url.www.example.org only in spelling",
    ),
    "a letter of another encoding": (
        lambda httpd: httpd.config.md(U).https("m\udcfcller.idn.example.org"),
        f"ller.idn.example.org differs from {A} (m",
    ),
    "the main server": (
        lambda httpd: httpd.config.add("ServerName main.www.example.org", "SSLEngine on", "MDomain main.www.example.org"),
        "the host's name main.www.example.org is not used for matching; see MDMatchNames, and MDBaseServer",
    ),
    "an alias that does not count": (
        lambda httpd: httpd.config.add("MDMatchNames servernames").md("b.www.example.org").https("c.www.example.org", aliases=["b.www.example.org"]),
        "the host's name b.www.example.org is not used for matching; see MDMatchNames",
    ),
}
"""A TLS host without certificate and domain, a domain without host, and what is said of the two."""


@pytest.mark.parametrize("case", LOST)
def test_a_host_that_misses_its_domain_is_told_before_a_reload_and_ends_no_server(lone_httpd: Httpd, case: str) -> None:
    httpd = _offline(lone_httpd)
    httpd.config.managed("a.example.org")
    httpd.start()
    add, said = LOST[case]
    add(httpd)
    httpd.log.expects("AH10045")
    checked = httpd.configtest()
    assert not checked.ok
    assert said in checked.text.partition("MD0055")[2].splitlines()[0]

    # Who reloads without asking has a server that goes on, and nothing is served by that host.
    httpd.log.expects("MD0055")
    # mod_ssl, of the placeholder that is another domain's.
    httpd.log.expects("AH01909", optional=True)
    httpd.graceful()
    assert said in httpd.log.find("MD0055")[0].text
    assert httpd.get("https://a.example.org/").status == 503
    httpd.stop()
    httpd.log.expects(*BARE, optional=True)
    assert "MD0055" in httpd.fails_to_start()


def test_a_host_with_a_certificate_or_without_tls_is_none_of_ours(lone_httpd: Httpd, world: World) -> None:
    """Hosts that mod_ssl accepts are not reported, even while a domain has no host."""
    leaf = world.pki.ca("own").leaf("own.www.example.org")
    files = (f'SSLCertificateFile "{leaf.chain_file}"', f'SSLCertificateKeyFile "{leaf.key_file}"')
    httpd = _offline(lone_httpd)
    httpd.config.md("lonely.www.example.org").https("own.www.example.org", *files).http("plain.www.example.org")
    httpd.config.https("off.www.example.org", "SSLEngine off")
    httpd.log.expects("AH10045")
    assert httpd.configtest().ok
    httpd.start()
    assert httpd.served("own.www.example.org").names == ["own.www.example.org"]
    # What the main server has all hosts have.
    httpd.config.clear().md("lonely.www.example.org").add("SSLEngine on", *files).https("own.www.example.org")
    httpd.log.expects("AH01909", optional=True)
    assert httpd.configtest().ok
    httpd.graceful()
    assert httpd.served("own.www.example.org").names == ["own.www.example.org"]


def test_a_new_domain_on_a_full_disk_ends_no_server(httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox) -> None:
    """mod_ssl gets what another domain has, as the placeholder cannot be written."""
    volume = world.volume()
    httpd.config.managed("a.example.org")
    old = httpd.start().obtain("a.example.org").served("a.example.org").leaf
    httpd.config.managed("b.example.org")
    volume.fill()
    httpd.log.expects("No space left on device")
    httpd.log.expects("AH01909", optional=True)
    httpd.graceful()
    assert httpd.log.find("AH10174")
    served = httpd.served("a.example.org", ca=pebble.root)
    assert (served.verified, served.leaf) == (True, old)
    assert httpd.get("https://b.example.org/").status == 503
    volume.free()
    httpd.graceful()
    assert httpd.served("b.example.org").names == ["b.example.org"]
    httpd.obtain("b.example.org")
    assert httpd.served("b.example.org", ca=pebble.root).verified


def test_case_means_nothing_to_either_module() -> None:
    def case(world: World) -> Any:
        httpd = world.httpd(world.pebble(nonce_reject=0, authz_reuse=0))
        httpd.config.md("UP.www.Example.org", "www.UP.example.ORG").https("up.WWW.example.org", aliases=["WWW.up.EXAMPLE.org"])
        httpd.start().obtain("up.www.example.org")
        served = httpd.served("Up.Www.Example.Org")
        return world.sandbox.md_json("up.www.example.org")["domains"], sorted(served.names)

    names = ["up.www.example.org", "www.up.example.org"]
    assert Oracle().both(case) == [names, names]


def test_names_that_the_c_module_has_stored_twice_are_one_after_the_switch(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    def _by(name: str) -> None:
        httpd.stop()
        httpd.module = httpd.config.module = Module.named(name)
        httpd.log.expects(*httpd.module.usual_warnings, optional=True)

    httpd.config.add("MDRenewMode manual").md(DUP).https(DUP)
    _by("system")
    httpd.config.add("MDRenewMode auto")
    old = httpd.start().obtain(DUP).served(DUP).leaf
    # The C module orders the name again, and is refused.
    httpd.config.clear().add("MDRenewMode manual").md(DUP).https(DUP, aliases=[f"{DUP}.", DUP.upper()])
    httpd.graceful()
    assert _names(sandbox, DUP) == [DUP, f"{DUP}."]

    _by("ours")
    orders = pebble.new_orders
    httpd.config.add("MDRenewMode auto")
    httpd.start()
    assert _names(sandbox, DUP) == [DUP]
    served = httpd.served(DUP, ca=pebble.root)
    assert (served.verified, served.leaf) == (True, old)
    status = httpd.md_status(DUP)
    assert (status["state"], "renewal" in status, pebble.new_orders) == (2, False, orders)
