"""a2md beside a server: it knows what the server is configured to, and commands hear of what it has activated."""

from __future__ import annotations

import pytest

from harness.a2md import A2md
from harness.config import Config
from harness.dns import Dns
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox

pytestmark = [pytest.mark.module("ours"), pytest.mark.pebble(nonce_reject=0, authz_reuse=0)]
NAME = "a.example.org"


def _managed(config: Config, *lines: str) -> None:
    config.add("MDRenewMode manual", *lines).managed(NAME)


def test_settings_outside_of_sections_count_for_a2md_too(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, dns: Dns) -> None:
    """The harness configures MDCACertificateFile for the whole server."""
    _managed(httpd.config, "MDCAChallenges dns-01", f'MDChallengeDns01 "{dns.command()}"', "MDChallengeDns01Version 2")
    httpd.start()
    cli = A2md(sandbox)
    looked = cli("preflight", "-r", pebble.dns.address, NAME)
    assert looked.code == 0 and "was set up and seen" in looked.out, looked
    done = cli("drive", NAME)
    assert (done.code, pebble.new_orders) == (0, 1), done
    assert [len(call) for call in dns.calls()] == [3] * 4

    # What is not configured any more does not count any more.
    httpd.config.clear()
    _managed(httpd.config, "MDCAChallenges dns-01")
    httpd.graceful()
    done = cli("drive", "-f", NAME)
    assert done.code == 1 and "MDChallengeDns01" in done.err, done


@pytest.mark.parametrize("activation", ["live", "restart"])
def test_commands_hear_at_the_next_start_of_what_a2md_has_activated(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, activation: str
) -> None:
    calls = sandbox.writable("commands") / "calls"
    command = sandbox.write("bin/message", f'#!/bin/sh\necho "$1 $2" >>{calls}\n', 0o755)
    _managed(httpd.config, f"MDMessageCmd {command}", f"MDActivation {activation}")
    httpd.start()
    assert A2md(sandbox, pebble)("drive", NAME).code == 0
    if activation == "live":
        # That root's a2md has activated something is no reason for a warning.
        httpd.wait_log("MD0036")
        assert not httpd.log.find("MD0085")
    assert not calls.exists()
    for _ in range(2):
        httpd.graceful()
        assert calls.read_text().splitlines() == [f"installed {NAME}"]
    assert httpd.served(NAME, ca=pebble.root).verified


def test_what_a_name_server_does_not_show_is_told_as_such(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.add("MDCAChallenges dns-01", "MDChallengeDns01 /bin/true").managed(NAME)
    httpd.log.expects("AH10056")
    httpd.start().wait_log("AH10056")
    (told,) = httpd.log.find("AH10056")
    assert told.has("only when all name servers of the zone have the record") and not told.has("lead to this server")


def test_domains_that_the_server_does_not_renew_are_told_as_such(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME).managed("gone.example.org").md("unused.example.org")
    httpd.log.expects("AH10045")
    httpd.start().obtain(NAME, "gone.example.org")
    cli = A2md(sandbox, pebble)
    assert "does not renew it: no host of the server has its names" in cli("status", "unused.example.org").out
    looked = [each for each in cli.json("preflight", "-r", pebble.dns.address, "unused.example.org").document["output"]]
    assert [each["result"] for each in looked if each["check"] == "server"] == ["warning"]
    assert "does not renew it" not in cli("status", NAME).out

    httpd.config.clear().managed(NAME)
    httpd.graceful()
    said = cli("status").out
    assert said.count("the server does not renew it: no MDomain in the configuration of the server has this name") == 2
