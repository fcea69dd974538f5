"""Events by MDNotifyCmd and MDMessageCmd: when they come, what commands get, and what their failure means."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from harness.httpd import Httpd
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.pki import Pki
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
NAME = "a.example.org"


def _command(sandbox: Sandbox, *lines: str) -> Path:
    """A command for MDMessageCmd that notes its arguments, then does this."""
    calls = sandbox.writable("events") / "calls"
    return sandbox.write("bin/message", "\n".join(["#!/bin/sh", f'echo "$*" >>{calls}', *lines]) + "\n", 0o755)


def _calls(sandbox: Sandbox, what: str = "") -> list[str]:
    """Calls of the command with `what` in their arguments."""
    calls = sandbox.writable("events") / "calls"
    return [line for line in calls.read_text().splitlines() if what in line] if calls.exists() else []


def _setups(sandbox: Sandbox) -> list[str]:
    """Calls of the command for challenges."""
    return _calls(sandbox, "challenge-setup")


def _entries(sandbox: Sandbox, group: str = "staging") -> list[tuple[str, str | None]]:
    """The entries of the report on the domain, oldest first, without progress."""
    log = sandbox.job(NAME, group).get("log", {}).get("entries", [])
    return [(entry["type"], entry.get("status")) for entry in reversed(log) if entry["type"] != "progress"]


def test_a_challenge_is_told_when_it_is_in_place_and_before_the_ca_is(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World
) -> None:
    gate = world.gate(pebble)
    seen = sandbox.writable("events") / "seen"
    command = _command(sandbox, f"case $2 in challenge-setup*) ls {sandbox.challenges()}/*/acme-http-01.txt >>{seen};; esac")
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", f'MDMessageCmd "{command}" "two words"').managed(NAME, f"www.{NAME}")
    hold = gate.hold("/chalZ/")
    httpd.start().wait(lambda: hold.held, what="answer")
    # The CA has the names in an order of its own.
    [first] = _setups(sandbox)
    name = first.split()[2].rpartition(":")[2]
    assert name in (NAME, f"www.{NAME}") and first == f"two words challenge-setup:http-01:{name} {NAME}"
    assert seen.read_text().split() == [str(sandbox.challenges(name) / "acme-http-01.txt")]
    hold.release()
    httpd.wait_staged(NAME)
    reasons = [line.split()[2] for line in _setups(sandbox)]
    assert sorted(reasons) == [f"challenge-setup:http-01:{each}" for each in (NAME, f"www.{NAME}")]
    kinds = [entry["type"] for entry in sandbox.job(NAME)["log"]["entries"]]
    assert [kind for kind in reversed(kinds) if "setup" in kind] == [f"message-{reason}" for reason in reasons]


def test_a_command_that_fails_is_one_error_and_the_ca_is_not_told(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    command = _command(sandbox, 'case $1 in challenge-setup*) echo cannot >&2; exit 7;; esac')
    httpd.config.add("MDRetryDelay 1d", f"MDMessageCmd {command}").managed(NAME)
    httpd.log.expects("AH10109", "AH10056")
    httpd.start().wait_log("AH10056")
    httpd.wait(lambda: httpd.md_status(NAME)["renewal"].get("last", {}).get("problem"))
    job = sandbox.job(NAME)
    assert (job["errors"], job["last"]["problem"], job["last"]["status"]) == (1, "challenge-setup-failure", 20014)
    sentence = f"MDMessageCmd {command} failed with exit code 7: cannot."
    [line] = httpd.log.find("AH10109")
    assert f"md[{NAME}]" in line.text and f"problem[urn:org:apache:httpd:log:AH10109:] detail[{sentence}]" in line.text
    assert f"cmd({command}) stderr: cannot" in "\n".join(map(str, httpd.log.lines))
    [entry] = [entry for entry in job["log"]["entries"] if entry["type"] == "message-error"]
    assert (entry["status"], entry["detail"]) == (f"challenge-setup:http-01:{NAME}", sentence)
    assert not pebble.requests("/chalZ/") and len(_setups(sandbox)) == 1
    assert not sandbox.challenges(NAME).exists()


def test_a_command_that_cannot_be_run_and_one_that_hangs(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.add("MDRetryDelay 1d", "MDMessageCmd /nonexistent/message").managed(NAME)
    httpd.log.expects("AH10109", "AH10056", "MD0061")
    httpd.start().wait_log("AH10060")
    assert "MDMessageCmd /nonexistent/message cannot be executed" in httpd.log.find("AH10109")[0].text
    httpd.stop()
    before = httpd.log.count("AH10109")
    command = _command(sandbox, "case $1 in challenge-setup*) exec sleep 600;; esac")
    httpd.config.clear().add("MDCmdTimeout 1s", f"MDMessageCmd {command}", "MDRetryDelay 1d").managed(NAME)
    httpd.start().wait_log("AH10056")
    assert "was stopped after 1s" in httpd.log.find("AH10109")[before].text


def test_a_command_that_hangs_delays_no_other_domain_and_ends_with_the_server(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    hang = f'case "$1 $2" in "renewing {NAME}") sleep 600 & wait;; esac'
    httpd.config.add(f"MDMessageCmd {_command(sandbox, hang)}").managed(NAME).managed("b.example.org")
    httpd.log.expects("MD0060")
    httpd.start().wait_staged("b.example.org")
    httpd.graceful(draining=True)
    assert httpd.served("b.example.org", ca=pebble.root).verified
    httpd.stop()
    assert len(_calls(sandbox, f"renewing {NAME}")) == 1
    assert not sandbox.job(NAME).get("errors") and not httpd.log.find("AH10109")


def _life(world: World) -> Any:
    """A domain from its first renewal to its activation, and to one that fails: calls, and what is noted."""
    sandbox = world.sandbox
    pebble = world.pebble(nonce_reject=0, authz_reuse=0)
    httpd = world.httpd(pebble)
    command = _command(sandbox)
    httpd.config.add(f'MDNotifyCmd {command} "of notify"', f"MDMessageCmd {command} fred").managed(NAME)
    httpd.start().wait(lambda: sandbox.job(NAME).get("notified-renewed"), what="end of the telling")
    told = _entries(sandbox)
    httpd.graceful().wait(lambda: _calls(sandbox, "installed"), what="installed")
    pebble.kill()
    httpd.config.managed("b.example.org")
    httpd.log.expects("AH10056", "Unsuccessful in contacting ACME server", "setup ACME communications", optional=True)
    httpd.graceful().wait(lambda: _calls(sandbox, "errored"), what="errored")
    return {"calls": _calls(sandbox), "entries": told}


def test_events_come_in_the_order_and_with_the_arguments_of_the_c_module() -> None:
    found = Oracle().both(_life)
    setup = f"challenge-setup:http-01:{NAME}"
    events = [f"fred renewing {NAME}", f"fred {setup} {NAME}", f"of notify {NAME}", f"fred renewed {NAME}", f"fred installed {NAME}"]
    assert found["calls"] == [*events, "fred renewing b.example.org", "fred errored b.example.org"]


def _failures(world: World) -> Any:
    """Effects of a failing command on a renewal: of `renewing`, then of MDNotifyCmd, then of MDMessageCmd."""
    sandbox = world.sandbox
    httpd = world.httpd(world.pebble(nonce_reject=0, authz_reuse=0))
    lines, seen = [f'test ! -e {sandbox.root}/bad-"$1" || exit 3'], {}
    command = _command(sandbox, *lines)
    httpd.log.expects("AH10108", "AH10109")
    httpd.config.add(f"MDNotifyCmd {command} notify", f"MDMessageCmd {command}").managed(NAME)
    for bad in ("renewing", "notify", "renewed"):
        sandbox.write(f"bad-{bad}", "")
    httpd.start().wait_log("AH10060")
    httpd.wait(lambda: _entries(sandbox), what="report")
    seen["veto"] = (_entries(sandbox)[:1], sandbox.job(NAME).get("errors"))
    (sandbox.root / "bad-renewing").unlink()
    for number, bad in (("AH10108", "notify"), ("AH10109: md", "renewed")):
        httpd.wait(lambda: sandbox.job(NAME).get("last", {}).get("problem", "").endswith(f"{number[:7]}:"), what=bad)  # noqa: B023
        job = sandbox.job(NAME)
        seen[bad] = [job["finished"], job["notified-renewed"], job["last"]["problem"], job["last"]["detail"], job["last"]["status"]]
        (sandbox.root / f"bad-{bad}").unlink()
    httpd.wait(lambda: sandbox.job(NAME).get("notified-renewed"), what="renewed")
    job = sandbox.job(NAME)
    return seen | {"end": [job["finished"], job["errors"], job.get("next-run")], "kinds": sorted({kind for kind, _ in _entries(sandbox)})}


def test_commands_fail_as_with_the_c_module() -> None:
    Oracle().both(_failures)


def test_a_command_can_deny_a_renewal_for_now(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    allowed = sandbox.root / "allowed"
    httpd.config.add(f"MDMessageCmd {_command(sandbox, f'test $1 != renewing || test -e {allowed}')}").managed(NAME)
    httpd.log.expects("AH10109", optional=True)
    httpd.start().wait_log("AH10060", times=2)
    assert sandbox.job(NAME)["errors"] == 0 and not pebble.requests("/nonce-plz")
    assert not httpd.log.find("AH10056")
    allowed.touch()
    httpd.wait_staged(NAME)


def test_a_notification_that_fails_is_told_again_and_the_certificate_waits_all_the_same(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    good = sandbox.root / "good"
    command = _command(sandbox, f"test -e {good}")
    httpd.config.add(f"MDNotifyCmd {command}").managed(NAME)
    httpd.log.expects("AH10108")
    httpd.start().wait_log("AH10108", times=2)
    [line, *_] = httpd.log.find("AH10108")
    sentence = f"MDNotifyCmd {command} failed with exit code 1."
    assert f"problem[urn:org:apache:httpd:log:AH10108:] detail[{sentence}]" in line.text
    renewal = httpd.md_status(NAME)["renewal"]
    assert (renewal["finished"], renewal["notified-renewed"], renewal["last"]["detail"]) == (True, False, sentence)
    assert not httpd.log.find("AH10059") and not httpd.log.find("AH10056")
    good.touch()
    httpd.wait(lambda: sandbox.job(NAME)["notified-renewed"])
    assert httpd.log.count("AH10059") == 1
    job = sandbox.job(NAME)
    assert (job["finished"], job["errors"]) == (True, 0) and "problem" not in job["last"]
    assert pebble.new_orders == 1
    httpd.graceful()
    assert httpd.served(NAME, ca=pebble.root).verified


def test_a_failure_that_was_told_is_not_told_again_so_soon(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.add(f"MDMessageCmd {_command(sandbox)}").managed(NAME)
    pebble.stop()
    httpd.log.expects("AH10056")
    httpd.start().wait_log(f"AH10267: {NAME}: event 'errored'")
    assert _calls(sandbox) == [f"renewing {NAME}", f"errored {NAME}"]
    assert sandbox.job(NAME)["errors"] >= 2


def test_what_a_start_activates_is_told_by_root_and_inherits_nothing(httpd: Httpd, sandbox: Sandbox) -> None:
    out = sandbox.writable("out")
    lines = [f'{{ id -un; ls -l /proc/self/fd | grep -c -- "->"; }} >{out}/"$1"', f"grep Sig.gn /proc/$$/status >>{out}/$1"]
    httpd.config.add(f"MDMessageCmd {_command(sandbox, *lines)}").managed(NAME)
    httpd.start().wait(lambda: sandbox.job(NAME).get("notified-renewed"), what="renewed")
    httpd.graceful()
    httpd.wait(lambda: _calls(sandbox, "installed"), what="installed")
    found = {name: (out / name).read_text().splitlines() for name in ("renewed", "installed")}
    # The directory that is listed is the fourth.
    assert found["renewed"][:2] == ["www-data", "4"] and found["installed"][:2] == ["root", "4"]
    # Some parents leave 32 and 33 ignored, which are the C library's own.
    assert {int(lines[2].split()[1], 16) & ~(3 << 31) for lines in found.values()} == {0}
    assert _entries(sandbox, "domains")[-1] == ("message-installed", None)
    httpd.stop()
    httpd.start()
    assert len(_calls(sandbox, "installed")) == 1


def test_a_command_of_a_start_that_hangs_is_stopped(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME).managed("b.example.org")
    httpd.start().wait_staged(NAME, "b.example.org")
    httpd.config.add("MDCmdTimeout 1s", f"MDMessageCmd {_command(sandbox, 'exec sleep 600')}")
    httpd.log.expects("AH10109", "'installed' is not told")
    httpd.graceful()
    assert len(_calls(sandbox)) == 1
    for name in (NAME, "b.example.org"):
        assert httpd.served(name, ca=pebble.root).verified


def test_what_happened_is_on_standard_input(httpd: Httpd, sandbox: Sandbox) -> None:
    out = sandbox.writable("out")
    httpd.config.add(f'MDMessageCmd {_command(sandbox, f"cat >{out}/${{1%%:*}}")}').managed(NAME, f"www.{NAME}")
    httpd.start().wait(lambda: sandbox.job(NAME).get("notified-renewed"), what="renewed")
    httpd.graceful()
    facts = {path.name: json.loads(path.read_text()) for path in out.iterdir()}
    assert sorted(facts) == ["challenge-setup", "installed", "renewed", "renewing"]
    assert all(fact["name"] == NAME and fact["domains"] == [NAME, f"www.{NAME}"] for fact in facts.values())
    served = httpd.served(NAME).leaf
    for event in ("renewed", "installed"):
        [told] = facts[event]["certificates"]
        assert int(told["serial"], 16) == served.x509.serial_number and told["sha256-fingerprint"] == served.sha256
    assert facts["challenge-setup"]["challenge"]["type"] == "http-01"


def test_the_end_of_a_certificate_of_the_administrator_is_told_daily(world: World, sandbox: Sandbox, pki: Pki) -> None:
    httpd = world.httpd()
    clock = world.clock(httpd)
    start = datetime.now(timezone.utc) - timedelta(days=85)
    leaf = pki.ca().leaf(NAME, days=90, not_before=start)
    httpd.config.add("MDCertificateAuthority https://localhost:1/dir", f"MDMessageCmd {_command(sandbox)}", "MDCheckInterval 1s")
    httpd.config.md_set(NAME, f"MDCertificateFile {leaf.cert_file}", f"MDCertificateKeyFile {leaf.key_file}").https(NAME)
    httpd.start().wait(lambda: _calls(sandbox, "expiring"), what="expiring")
    httpd.graceful().wait_log("AH10054", times=2)
    clock.shift(hours=25)
    httpd.wait(lambda: len(_calls(sandbox)) > 1, what="expiring")
    assert _calls(sandbox) == [f"expiring {NAME}"] * 2
    assert "renew" not in httpd.md_status(NAME) or httpd.md_status(NAME)["renewal"]["errors"] == 0
