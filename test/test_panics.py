"""A panic in any hook is logged once per call, and the server goes on with what the hook is documented to fall back to."""

from __future__ import annotations

import contextlib

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.pki import Pki
from harness.sandbox import Sandbox
from harness.tls import HandshakeFailed
from harness.world import World

pytestmark = pytest.mark.module("panicking")

CHALLENGE = "http://a.example.org/.well-known/acme-challenge/token"


def _offline(httpd: Httpd, hook: str) -> Httpd:
    httpd.config.add("MDRenewMode manual").managed("a.example.org").http("plain.example.org")
    httpd.env["MD_PANIC_IN"] = hook
    httpd.log.expects(f"MD0001: {hook.partition('@')[0]}: panic at src/httpd/panic_probe.rs:")
    return httpd


def _serves(httpd: Httpd) -> bool:
    return httpd.get("http://plain.example.org/").text == "plain.example.org"


@pytest.mark.parametrize("hook", ["directive", "check_config", "post_config_first", "post_config_last"])
def test_a_start_ends_with_a_panic_in_the_configuration(lone_httpd: Httpd, hook: str) -> None:
    httpd = _offline(lone_httpd, hook)
    httpd.log.expects("AH00016", "AH00526", "AH02572", optional=True)
    assert "provoked by MD_PANIC_IN" in httpd.fails_to_start()
    assert httpd.log.count("MD0001") == 1


@pytest.mark.parametrize("hook", ["check_config", "post_config_first", "post_config_last"])
def test_a_running_server_goes_on_after_a_panic_at_a_restart(lone_httpd: Httpd, hook: str) -> None:
    httpd = _offline(lone_httpd, f"{hook}@restart")
    # With managed TLS hosts mod_ssl would have nothing to go on with.
    httpd.config.clear().add("MDRenewMode manual").md("a.example.org").http("a.example.org").http("plain.example.org")
    httpd.start()
    assert _serves(httpd)
    httpd.graceful()
    assert httpd.log.count("MD0001") == 1
    assert _serves(httpd)
    assert httpd.get("http://a.example.org/").status == 200


def test_a_test_before_a_restart_that_panics_fails(lone_httpd: Httpd) -> None:
    httpd = _offline(lone_httpd, "test_config")
    assert httpd.configtest().ok
    httpd.arguments = ["-D", "MD_RS_TRIAL"]
    tested = httpd.configtest()
    assert not tested.ok and "provoked by MD_PANIC_IN" in tested.text


@pytest.mark.parametrize("hook", ["post_read_first", "post_read_second"])
def test_a_request_goes_to_other_modules_after_a_panic_before_it(lone_httpd: Httpd, hook: str) -> None:
    httpd = _offline(lone_httpd, hook)
    httpd.start()
    children = {proc.pid for proc in httpd.children()}
    before = httpd.log.count("MD0001")
    assert _serves(httpd)
    assert httpd.log.count("MD0001") == before + 1
    assert httpd.get(CHALLENGE).status == 404
    assert {proc.pid for proc in httpd.children()} == children


@pytest.mark.parametrize("hook", ["protocol_propose", "protocol_switch", "protocol_get", "ssl_answer_challenge"])
def test_a_handshake_that_panics_is_one_without_a_challenge(lone_httpd: Httpd, sandbox: Sandbox, pki: Pki, hook: str) -> None:
    httpd = _offline(lone_httpd, hook)
    httpd.config.md("alpn.example.org").https("alpn.example.org", "Protocols http/1.1 acme-tls/1")
    challenge = pki.ca("challenges").leaf("challenge.example.org", key="rsa2048")
    httpd.start()
    sandbox.put_challenge("alpn.example.org", "acme-tls-alpn-01-pubcert.pem", challenge.cert_file.read_text())
    sandbox.put_challenge("alpn.example.org", "acme-tls-alpn-01-privkey.pem", challenge.key_file.read_text())
    children = {proc.pid for proc in httpd.children()}
    # Where httpd cannot switch the handshake ends.
    httpd.log.expects("AH02907", "AH02908", optional=True)
    # What the connection speaks is asked after the choice, too, and does not change it.
    name = "challenge.example.org" if hook == "protocol_get" else "alpn.example.org"
    with contextlib.suppress(HandshakeFailed):
        assert httpd.served("alpn.example.org", alpn="acme-tls/1").names == [name]
    httpd.wait_log("MD0001")
    assert httpd.served("alpn.example.org").names == ["alpn.example.org"]
    assert _serves(httpd)
    assert {proc.pid for proc in httpd.children()} == children


@pytest.mark.parametrize("hook", ["ssl_ocsp_prime", "init_server", "ssl_ocsp_get_resp", "status_request"])
def test_a_handshake_has_no_staple_of_ours_after_a_panic(lone_httpd: Httpd, world: World, hook: str) -> None:
    ca = world.pki.ca().intermediate("Issuer")
    responder = world.responder(ca)
    leaf = ca.leaf("a.example.org", ocsp_url=responder.url)
    responder.says(leaf)
    httpd = _offline(lone_httpd, hook)
    httpd.config.clear().http("plain.example.org").add(f"SSLStaplingCache shmcb:{world.sandbox.run}/staples(64000)")
    # mod_ssl asks in the handshake, for what is not ours.
    ours = "MDStapling off" if hook == "ssl_ocsp_get_resp" else "MDStapling on"
    files = [f"SSLCertificateFile {leaf.chain_file}", f"SSLCertificateKeyFile {leaf.key_file}"]
    httpd.config.https("a.example.org", ours, *(["SSLUseStapling on"] if ours == "MDStapling off" else []), *files)
    httpd.start()
    children = {proc.pid for proc in httpd.children()}
    staple = httpd.served("a.example.org", status=True).staple
    assert staple == ("good" if hook == "ssl_ocsp_get_resp" else None) or hook == "init_server"
    assert httpd.log.count("MD0001") and _serves(httpd)
    assert {proc.pid for proc in httpd.children()} == children


def test_a_handler_that_panics_is_a_500(lone_httpd: Httpd) -> None:
    httpd = _offline(lone_httpd, "handler")
    httpd.start()
    children = {proc.pid for proc in httpd.children()}
    before = httpd.log.count("MD0001")
    assert httpd.admin("/md-status/").status == 500
    assert httpd.log.count("MD0001") == before + 1
    assert {proc.pid for proc in httpd.children()} == children


@pytest.mark.parametrize("hook", ["child_init", "child_stopping", "pre_config"])
def test_a_server_lives_with_a_panic_in_its_life_cycle(lone_httpd: Httpd, hook: str) -> None:
    httpd = _offline(lone_httpd, hook)
    httpd.start()
    assert _serves(httpd)
    assert httpd.get("https://a.example.org/").status == 503
    httpd.graceful()
    assert _serves(httpd)
    assert httpd.log.count("MD0001") >= 1


def test_a_host_whose_certificates_panic_is_as_one_we_do_not_know(lone_httpd: Httpd, pki: Pki) -> None:
    leaf = pki.ca("by hand").leaf("a.example.org")
    httpd = lone_httpd
    httpd.config.add("MDRenewMode manual").md("a.example.org")
    httpd.config.https("a.example.org", f"SSLCertificateFile {leaf.cert_file}", f"SSLCertificateKeyFile {leaf.key_file}")
    httpd.env["MD_PANIC_IN"] = "ssl_add_cert_files"
    httpd.log.expects("MD0001: ssl_add_cert_files: panic")
    httpd.log.expects("AH10045", optional=True)
    httpd.start()
    page = httpd.get("https://a.example.org/")
    assert (page.status, page.certificate) == (200, leaf.certificate)


def test_a_watchdog_that_panics_is_called_again_and_the_server_serves(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.managed("a.example.org").http("plain.example.org")
    httpd.env["MD_PANIC_IN"] = "watchdog"
    httpd.log.expects("MD0001: watchdog: panic")
    httpd.start().wait_log("MD0001", times=2)
    assert _serves(httpd)
    assert httpd.get("https://a.example.org/").status == 503
    assert not pebble.requests("/sign-me-up")


def test_no_configuration_of_ours_stops_the_start_in_words(lone_httpd: Httpd) -> None:
    httpd = _offline(lone_httpd, "create_server_config")
    httpd.log.expects("AH00016", "MD0002", optional=True)
    said = httpd.fails_to_start()
    assert "MD0001: create_server_config" in said


def test_a_virtual_host_whose_settings_cannot_be_merged_keeps_its_own(lone_httpd: Httpd) -> None:
    httpd = _offline(lone_httpd, "merge_server_config")
    httpd.start()
    assert _serves(httpd)
    assert httpd.get("https://a.example.org/").status == 503
