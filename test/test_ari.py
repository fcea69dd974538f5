"""Renewal information (RFC 9773): when the CA wants certificates to be renewed, and which ones are replaced."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest

from harness.a2md import A2md
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = pytest.mark.module("ours")
NAME = "a.example.org"
WHY = "https://ca.example.org/why"


def _served(httpd: Httpd, pebble: Pebble, past: bool) -> None:
    """A domain with a certificate, whose renewal the CA suggests, with hours in the past or days in the future."""
    httpd.config.managed(NAME).add("MDPrivateKeys secp256r1", "MDRenewViaARI off")
    httpd.start().obtain(NAME)
    start = datetime.now(UTC).replace(microsecond=0) + (timedelta(hours=-9) if past else timedelta(days=9))
    pebble.set_ari(httpd.served(NAME).leaf, start, start + timedelta(hours=8), WHY)
    httpd.config.add("MDRenewViaARI on")
    httpd.graceful()


def _questions(pebble: Pebble) -> int:
    return len(pebble.requests("/renewalInfo/"))


def test_a_suggested_moment_is_shown_with_its_explanation_and_stays_over_restarts(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    _served(httpd, pebble, past=False)
    httpd.wait_log("AH10515")
    assert f"asking the CA at {pebble.directory}" in httpd.log.find("AH10513")[0].text
    assert WHY in httpd.log.find("AH10515")[0].text
    status = httpd.wait(lambda: (md := httpd.md_status(NAME)).get("ari") and md, what="the suggestion")
    window = {name: parsedate_to_datetime(text) for name, text in status["ari"]["suggested-window"].items()}
    assert window["until"] - window["from"] == timedelta(hours=8)
    assert window["from"] <= parsedate_to_datetime(status["ari"]["renew-at"]) <= window["until"]
    assert status["ari"]["explanation-url"] == WHY
    assert status["renew-at"] == status["ari"]["renew-at"]
    assert "renew" not in status and "renewal" not in status

    # Pebble wants to be asked again in 6 hours.
    for _ in range(2):
        httpd.graceful()
        httpd.wait_log("AH10107", times=httpd.log.count("AH10107") + 2)
        assert httpd.md_status(NAME)["ari"] == status["ari"]
    assert _questions(pebble) == 1
    assert httpd.log.count("AH10515") == 1
    assert list(path.name for path in sandbox.staging(NAME).iterdir()) == ["ari.json"]


def test_a_window_in_the_past_renews_at_once_and_the_order_says_what_it_replaces(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    _served(httpd, pebble, past=True)
    old = httpd.served(NAME).leaf
    before = sandbox.save_store()
    httpd.wait_staged(NAME)
    assert f"CA advises renew via ARI now, for explanation see {WHY}" in httpd.log.find("AH10517")[0].text
    httpd.graceful()
    new = httpd.served(NAME, ca=pebble.root)
    assert new.verified
    assert new.leaf != old
    assert pebble.new_orders == 2

    # A server with the former store renews once more: the CA knows that the certificate was replaced, and refuses that.
    httpd.stop()
    sandbox.restore_store(before)
    orders = len(pebble.requests("/order-plz"))
    httpd.start()
    httpd.wait(lambda: pebble.new_orders == 3, what="an order")
    httpd.obtain(NAME)
    again = httpd.served(NAME, ca=pebble.root)
    assert again.verified
    assert again.leaf not in (old, new.leaf)
    assert httpd.log.find("refuses an order with 'replaces'")
    assert len(pebble.requests("/order-plz")) >= orders + 2
    assert not httpd.log.find("AH10056")


def test_a_window_later_than_a_third_of_the_life_counts_unless_a_renew_window_is_configured(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    httpd.config.managed(NAME).add("MDPrivateKeys secp256r1", "MDRenewViaARI off")
    httpd.start().obtain(NAME)
    leaf = httpd.served(NAME).leaf
    late = leaf.not_after - timedelta(days=15)
    pebble.set_ari(leaf, late, late + timedelta(hours=8))
    httpd.config.add("MDRenewViaARI on")
    httpd.graceful().wait_log("AH10516")
    status = httpd.md_status(NAME)
    assert late <= parsedate_to_datetime(status["renew-at"]) <= late + timedelta(hours=8)
    assert (status["renew-window"], "renew-window-configured" in status) == ("33%", False)

    # The default as a value
    httpd.config.add("MDRenewWindow 33%")
    httpd.graceful()
    status = httpd.md_status(NAME)
    usual = leaf.not_after - (leaf.not_after - leaf.not_before) * 0.33
    assert abs(parsedate_to_datetime(status["renew-at"]) - usual) < timedelta(seconds=2)
    assert late <= parsedate_to_datetime(status["ari"]["renew-at"]) <= late + timedelta(hours=8)
    assert (status["renew-window"], status["renew-window-configured"]) == ("33%", True)
    assert sandbox.md_json(NAME)["renew-window-configured"] is True


def test_a_full_start_and_drive_ask_again_what_was_answered_before_the_last_minute(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    _served(httpd, pebble, past=False)
    httpd.wait_log("AH10515")
    cli = A2md(sandbox, None, ("-C", pebble.trust))

    def answered_earlier() -> None:
        path = sandbox.staging(NAME) / "ari.json"
        advice = json.loads(path.read_text())
        advice["asked"] = format_datetime(datetime.now(UTC) - timedelta(seconds=70), usegmt=True)
        path.write_text(json.dumps(advice))

    def drive() -> None:
        assert f"{NAME}: not due before " in cli("drive").err

    # Twice each: the second time, the last answer is of this minute.
    drive()
    assert _questions(pebble) == 1
    answered_earlier()
    drive()
    drive()
    assert _questions(pebble) == 2
    answered_earlier()
    httpd.graceful()
    httpd.wait_log("AH10107", times=httpd.log.count("AH10107") + 2)
    assert _questions(pebble) == 2
    httpd.stop()
    httpd.start().wait(lambda: _questions(pebble) == 3, what="a question")
    httpd.stop()
    httpd.start().wait_log("AH10107", times=httpd.log.count("AH10107") + 2)
    assert _questions(pebble) == 3


def test_a_replacement_that_is_refused_with_an_internal_error_is_ordered_without_its_name(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox
) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MDRetryDelay 1s")
    _served(httpd, pebble, past=True)
    problem = {"type": "urn:ietf:params:acme:error:serverInternal", "detail": "cannot create the order"}
    refused = gate.refuse("/order-plz", 500, problem, Retry_After="3600")
    broken = gate.refuse("/finalize-order/", 500, problem)
    httpd.log.expects("AH10056")
    httpd.wait_staged(NAME)
    # The order without the name is placed at once, and its failure is another matter.
    assert (refused.given, broken.given, httpd.log.count("AH10056")) == (1, 1, 1)
    assert len(httpd.log.find("refuses an order with 'replaces'")) == 1
    assert "refused-replacements" not in sandbox.job(NAME)
    httpd.graceful()
    assert httpd.served(NAME, ca=pebble.root).verified


def test_nobody_is_asked_if_it_is_switched_off(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    _served(httpd, pebble, past=True)
    httpd.config.add("MDRenewViaARI off")
    httpd.graceful()
    asked = _questions(pebble)
    httpd.graceful()
    httpd.wait_log("AH10107", times=httpd.log.count("AH10107") + 2)
    status = httpd.md_status(NAME)
    assert "ari" not in status
    assert parsedate_to_datetime(status["renew-at"]) > datetime.now(UTC) + timedelta(days=30)
    assert _questions(pebble) == asked


def test_senseless_answers_are_ignored(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.managed(NAME).add("MDPrivateKeys secp256r1", "MDRenewViaARI off")
    httpd.start().obtain(NAME)
    pebble.set_ari_raw(httpd.served(NAME).leaf, {"suggestedWindow": {"start": "2020-01-02T00:00:00Z", "end": "2020-01-01T00:00:00Z"}})
    httpd.config.add("MDRenewViaARI on")
    httpd.log.expects("MD0021")
    httpd.graceful().wait_log("MD0021")
    httpd.wait_log("AH10107", times=httpd.log.count("AH10107") + 2)
    status = httpd.md_status(NAME)
    assert "renew" not in status and "ari" not in status
    assert pebble.new_orders == 1


def test_a_ca_that_is_down_delays_no_renewal_by_questions(world: World, httpd: Httpd, pebble: Pebble) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MDPrivateKeys secp256r1", "MDRenewViaARI off").managed(NAME)
    httpd.start().obtain(NAME)
    hold = gate.hold("/renewalInfo/", answer=False)
    httpd.config.add("MDRenewViaARI on", "MDRenewWorkers 1").managed("b.example.org")
    httpd.graceful().wait(lambda: hold.held, what="a question")
    httpd.wait_staged("b.example.org")
    hold.release()
    httpd.graceful()
    assert httpd.served("b.example.org", ca=pebble.root).verified


def test_the_news_of_a_renewal_is_held_back(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDActivationDelay 1h")
    _served(httpd, pebble, past=True)
    assert httpd.log.count("AH10059") == 1
    old = httpd.served(NAME).leaf
    httpd.wait_staged(NAME)
    renewal = httpd.md_status(NAME)["renewal"]
    wait = parsedate_to_datetime(renewal["valid-from"]) - datetime.now(UTC)
    assert timedelta(minutes=50) < wait <= timedelta(hours=1)
    assert (renewal["next-run"], renewal["notified-renewed"]) == (renewal["valid-from"], False)
    assert "can be used from" in renewal["last"]["detail"]
    assert httpd.log.count("AH10059") == 1
    httpd.graceful()
    assert httpd.served(NAME, ca=pebble.root).leaf != old
