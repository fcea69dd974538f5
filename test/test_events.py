"""Events by MDMessageCmd: when they come, what the command gets, and what its failure means."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
NAME = "a.example.org"


def _command(sandbox: Sandbox, *lines: str) -> Path:
    """A command for MDMessageCmd that notes its arguments, then does this."""
    calls = sandbox.writable("events") / "calls"
    return sandbox.write("bin/message", "\n".join(["#!/bin/sh", f'echo "$*" >>{calls}', *lines]) + "\n", 0o755)


def _setups(sandbox: Sandbox) -> list[str]:
    """Its calls for challenges."""
    calls = sandbox.writable("events") / "calls"
    return [line for line in calls.read_text().splitlines() if "challenge-setup" in line] if calls.exists() else []


def test_a_challenge_is_told_when_it_is_in_place_and_before_the_ca_is(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World
) -> None:
    gate = world.gate(pebble)
    seen = sandbox.writable("events") / "seen"
    command = _command(sandbox, f"ls {sandbox.challenges()}/*/acme-http-01.txt >>{seen}")
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
    command = _command(sandbox, "echo cannot >&2", "exit 7")
    httpd.config.add("MDRetryDelay 1d", f"MDMessageCmd {command}").managed(NAME)
    httpd.log.expects("AH10109", "AH10056")
    httpd.start().wait_log("AH10056")
    httpd.wait(lambda: httpd.md_status(NAME)["renewal"].get("last", {}).get("problem"))
    job = sandbox.job(NAME)
    assert (job["errors"], job["last"]["problem"], job["last"]["status"]) == (1, "challenge-setup-failure", 20014)
    sentence = f"MDMessageCmd {command} failed with exit code 7."
    [line] = httpd.log.find("AH10109")
    assert f"md[{NAME}]" in line.text and f"problem[urn:org:apache:httpd:log:AH10109:] detail[{sentence}]" in line.text
    assert f"cmd({command}) stderr: cannot" in "\n".join(map(str, httpd.log.lines))
    [entry] = [entry for entry in job["log"]["entries"] if entry["type"] == "message-error"]
    assert (entry["status"], entry["detail"]) == (f"challenge-setup:http-01:{NAME}", sentence)
    assert not pebble.requests("/chalZ/") and len(_setups(sandbox)) == 1
    assert not sandbox.challenges(NAME).exists()


def test_a_command_that_cannot_be_run_and_one_that_hangs(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.add("MDRetryDelay 1d", "MDMessageCmd /nonexistent/message").managed(NAME)
    httpd.log.expects("AH10109", "AH10056")
    httpd.start().wait_log("AH10109")
    assert "MDMessageCmd /nonexistent/message cannot be executed" in httpd.log.find("AH10109")[0].text
    httpd.wait_log("AH10056")
    httpd.stop()
    httpd.log.expects("AH10064", optional=True)
    httpd.config.clear().add("MDCmdTimeout 1s", f"MDMessageCmd {_command(sandbox, 'exec sleep 600')}", "MDRetryDelay 1d").managed(NAME)
    httpd.start().wait_log("AH10109", times=2)
    assert "was stopped after 1s" in httpd.log.find("AH10109")[1].text
    httpd.wait_log("AH10056", times=2)
