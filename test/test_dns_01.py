"""dns-01: the administrator's command, how it is called, and that everything it has set up is taken away once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from harness import process
from harness.dns import Dns
from harness.gate import Gate
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
NAME = "a.example.org"


def _by_dns(httpd: Httpd, dns: Dns, *lines: str) -> None:
    httpd.config.add("MDCAChallenges dns-01", f'MDChallengeDns01 "{dns.command()}"', *lines)


def _is_balanced(dns: Dns, *, version: int = 2) -> bool:
    """Whether there is one teardown for each setup, with the same value if it is told."""
    calls = Counter((call[0], *call[1 : version + 1]) for call in dns.calls())
    setups, teardowns = ({key[1:]: count for key, count in calls.items() if key[0] == kind} for kind in ("setup", "teardown"))
    return setups == teardowns


def _script(sandbox: Sandbox, name: str, *lines: str) -> Path:
    """A command that notes each call in `<name>.calls`, then does this."""
    calls = sandbox.writable("commands") / f"{name}.calls"
    return sandbox.write(f"bin/{name}", "\n".join(["#!/bin/sh", f'echo "$*" >>{calls}', *lines]) + "\n", 0o755)


def _calls(sandbox: Sandbox, name: str) -> list[str]:
    calls = sandbox.writable("commands") / f"{name}.calls"
    return calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize("version", [1, 2])
def test_a_name_and_its_wildcard(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, dns: Dns, version: int) -> None:
    _by_dns(httpd, dns, f"MDChallengeDns01Version {version}")
    httpd.config.md(NAME, f"*.{NAME}").https(NAME, aliases=[f"*.{NAME}"])
    httpd.start().obtain(NAME)
    for name in (NAME, f"www.{NAME}"):
        assert httpd.served(name, ca=pebble.root).verified
    calls = dns.calls()
    assert len(calls) == 4 and {call[1] for call in calls} == {NAME}, calls
    kinds = [call[0] for call in calls]
    first, second = [call[2] for call in calls if call[0] == "setup"]
    assert first != second and len(first) == 43
    if version == 1:
        assert kinds == ["setup", "teardown", "setup", "teardown"]
        assert {len(call) for call in calls if call[0] == "teardown"} == {2}
    else:
        assert kinds == ["setup", "setup", "teardown", "teardown"]
        assert {call[2] for call in calls if call[0] == "teardown"} == {first, second}
    # What the CA suggests about the new certificate may be there already.
    assert not sandbox.staging(NAME).joinpath("order.json").exists()


def test_a_domain_can_have_a_command_of_its_own(httpd: Httpd, sandbox: Sandbox, dns: Dns) -> None:
    own, other = dns.command(), _script(sandbox, "other", "echo no such zone >&2", "exit 3")
    httpd.config.add(f'MDChallengeDns01 "{other}" "all of them"', "MDCAChallenges dns-01")
    httpd.config.md_set(NAME, f'MDChallengeDns01 "{own}"').https(NAME).md("b.example.org").https("b.example.org")
    httpd.log.expects("AH10056", "dns-01 teardown command failed")
    httpd.start().wait_staged(NAME).wait_log("AH10056")
    assert {call[1] for call in dns.calls()} == {NAME}
    first = _calls(sandbox, "other")[:2]
    assert first[0].startswith("all of them setup b.example.org ") and first[1] == "all of them teardown b.example.org"
    assert httpd.log.find("AH10056")[0].has("problem[challenge-setup-failure]")
    last = httpd.md_status("b.example.org")["renewal"]["last"]
    assert (last["status"], last["problem"]) == (20014, "challenge-setup-failure")
    assert f"the dns-01 command {other} failed with exit code 3: no such zone" in last["detail"]


def test_a_command_that_cannot_be_run_is_a_warning(httpd: Httpd) -> None:
    httpd.config.add("MDCAChallenges dns-01", "MDChallengeDns01 /nonexistent/dns").md(NAME).https(NAME)
    httpd.log.expects("AH10056", "MD0106", "MD0061")
    httpd.start().wait_log("AH10056")


def _server_killed(httpd: Httpd) -> None:
    httpd.log.expects("AH00098", optional=True)
    httpd.kill()
    httpd.start()


def _stopped(httpd: Httpd) -> None:
    httpd.stop()
    httpd.start()


def _graceful(httpd: Httpd) -> None:
    httpd.graceful()


@pytest.mark.parametrize("interruption", [_server_killed, _stopped, _graceful])
@pytest.mark.parametrize("path", ["/chalZ/", "/finalize-order/"])
def test_what_was_set_up_before_an_interruption_is_taken_away_at_the_next_start(
    httpd: Httpd, pebble: Pebble, dns: Dns, world: World, interruption: object, path: str
) -> None:
    gate = world.gate(pebble)
    _by_dns(httpd, dns, f"MDCertificateAuthority {gate.directory}", "MDChallengeDns01Version 2")
    httpd.config.md(NAME, f"*.{NAME}").https(NAME)
    hold = gate.hold(path)
    httpd.start().wait(lambda: hold.held, what=path)
    assert [call[0] for call in dns.calls()] == ["setup", "setup"]
    interruption(httpd)  # type: ignore[operator]
    hold.release()
    httpd.obtain(NAME)
    assert dns.calls()[2][0] == dns.calls()[3][0] == "teardown"
    assert _is_balanced(dns), dns.calls()


def test_what_was_set_up_is_taken_away_though_nothing_is_due(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, dns: Dns, world: World) -> None:
    gate = world.gate(pebble)
    _by_dns(httpd, dns, f"MDCertificateAuthority {gate.directory}", "MDChallengeDns01Version 2")
    httpd.config.md(NAME).https(NAME)
    hold = gate.hold("/chalZ/")
    httpd.start().wait(lambda: hold.held, what="challenge in place")
    _server_killed(httpd)
    httpd.kill()
    calls = dns.calls()
    httpd.config.add("MDRenewMode manual")
    httpd.start().wait(lambda: not (sandbox.staging(NAME) / "order.json").read_text().count("dns-01"), what="teardown")
    assert calls[0][0] == "setup" and _is_balanced(dns), dns.calls()
    assert len(dns.calls()) in (2, 4)
    hold.release()


def test_errors_of_the_ca_leave_nothing_behind(httpd: Httpd, pebble: Pebble, dns: Dns) -> None:
    _by_dns(httpd, dns, "MDChallengeDns01Version 2")
    httpd.config.md(NAME).https(NAME)
    dns.servfail(f"_acme-challenge.{NAME}")
    httpd.log.expects("AH10056")
    httpd.start().wait_log("CA considers answer to challenge invalid", times=2)
    # Wherever the next run is.
    pebble.kill()
    httpd.wait_log("while[Contacting ACME server]")
    assert len(dns.calls()) >= 4 and _is_balanced(dns), dns.calls()


def test_a_command_that_hangs_is_ended_with_its_children_and_delays_its_own_domain_only(
    httpd: Httpd, sandbox: Sandbox, dns: Dns
) -> None:
    pids = sandbox.writable("commands") / "pids"
    hanging = _script(sandbox, "hanging", '[ "$1" = setup ] || exit 0', "trap '' TERM", f"sleep 600 & echo $! $$ >>{pids}", "wait; wait")
    httpd.config.add("MDCmdTimeout 60s 2s").md_set(NAME, "MDCAChallenges dns-01", f'MDChallengeDns01 "{hanging}"').https(NAME)
    httpd.config.managed("b.example.org")
    httpd.log.expects("AH10056")
    httpd.start().wait_staged("b.example.org").wait_log("AH10056")
    assert "was stopped after 2s" in httpd.log.find("AH10056")[0].text
    first = [int(pid) for pid in pids.read_text().splitlines()[0].split()]
    assert not any(proc.pid in first for proc in process.descendants())
    calls = _calls(sandbox, "hanging")
    assert calls[0].startswith(f"setup {NAME} ") and calls[1] == f"teardown {NAME}"


def test_a_graceful_restart_ends_a_command_and_takes_away_what_it_did(httpd: Httpd, sandbox: Sandbox) -> None:
    pids = sandbox.writable("commands") / "pids"
    hanging = _script(sandbox, "hanging", '[ "$1" = setup ] || exit 0', f"sleep 600 & echo $! $$ >>{pids}", "wait")
    httpd.config.md_set(NAME, "MDCAChallenges dns-01", f'MDChallengeDns01 "{hanging}"').https(NAME)
    httpd.start().wait(pids.exists, what="the command")
    httpd.wait(lambda: pids.read_text().endswith("\n"))
    first = [int(pid) for pid in pids.read_text().splitlines()[0].split()]
    httpd.graceful()
    httpd.wait(lambda: not any(proc.pid in first for proc in process.descendants()), what="end of the command")
    httpd.wait(lambda: len(_calls(sandbox, "hanging")) >= 2, what="teardown")
    assert _calls(sandbox, "hanging")[1] == f"teardown {NAME}"
    # Neither a failure nor a complaint.
    assert not httpd.log.find("AH10056")


def test_one_command_runs_at_a_time_and_one_domain_has_a_name(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, dns: Dns) -> None:
    busy = sandbox.writable("commands") / "busy"
    lines = [f"mkdir {busy} || exit 9", f'{dns.command()} "$@"; code=$?', f"rmdir {busy}; exit $code"]
    single = _script(sandbox, "single", *lines)
    httpd.config.add("MDCAChallenges dns-01", f'MDChallengeDns01 "{single}"', "MDRenewMode always")
    names = [f"{letter}.example.org" for letter in "abcd"]
    for name in names:
        httpd.config.md(name).https(name)
    # Both have their record at the same place.
    httpd.config.md("*.a.example.org").https("www.a.example.org")
    httpd.start().wait_staged(*names, "*.a.example.org")
    assert len(dns.calls()) == 10
    at_a = [call[0] for call in dns.calls() if call[1] == "a.example.org"]
    assert at_a == ["setup", "teardown"] * 2


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_commands_have_the_servers_environment_and_nothing_else_of_it(httpd: Httpd, sandbox: Sandbox) -> None:
    out = sandbox.writable("commands")
    # Shells block all signals while they start a program, so this one reads its status by itself.
    status = f'while read -r line; do echo "$line"; done </proc/$$/status >{out}/status'
    lines = [f"env >{out}/env", f"ls -l /proc/self/fd >{out}/fd", status, f"ps -o pgid= -p $$ >{out}/group", f"echo $$ >{out}/pid", "exit 1"]
    command = _script(sandbox, "look", '[ "$1" = setup ] || exit 0', *lines)
    httpd.env["OF_THE_SERVER"] = "seen"
    httpd.config.add("MDRetryDelay 1d").md_set(NAME, "MDCAChallenges dns-01", f'MDChallengeDns01 "{command}"').https(NAME)
    httpd.log.expects("AH10056")
    httpd.start().wait_log("AH10056")
    environment = (out / "env").read_text().splitlines()
    assert "OF_THE_SERVER=seen" in environment and f"PATH={os.environ['PATH']}" in environment
    open_files = {line.split()[-3] for line in (out / "fd").read_text().splitlines() if "->" in line}
    # The directory that is listed is the fourth.
    assert open_files == {"0", "1", "2", "3"}
    told = dict(line.split(":", 1) for line in (out / "status").read_text().splitlines() if ":" in line)
    # 32 and 33 are the C library's own: no program can change them, and some parents leave them ignored.
    assert int(told["SigBlk"], 16) == 0 and int(told["SigIgn"], 16) & ~(3 << 31) == 0
    assert int((out / "group").read_text()) == int((out / "pid").read_text())


def test_what_is_left_of_an_order_is_taken_away_when_the_settings_change(
    httpd: Httpd, pebble: Pebble, dns: Dns, world: World
) -> None:
    gate: Gate = world.gate(pebble)
    _by_dns(httpd, dns, f"MDCertificateAuthority {gate.directory}", "MDChallengeDns01Version 2")
    httpd.config.md_set(NAME).https(NAME)
    hold = gate.hold("/chalZ/")
    httpd.start().wait(lambda: hold.held, what="challenge in place")
    httpd.log.expects("AH00098", optional=True)
    httpd.kill()
    httpd.config.add("MDPrivateKeys secp256r1")
    hold.release()
    httpd.start().obtain(NAME)
    assert [call[0] for call in dns.calls()] == ["setup", "teardown", "setup", "teardown"]
    assert _is_balanced(dns)


def test_a_renewal_that_is_cut_off_by_a_dying_child(httpd: Httpd, pebble: Pebble, dns: Dns, world: World) -> None:
    gate = world.gate(pebble)
    _by_dns(httpd, dns, f"MDCertificateAuthority {gate.directory}", "MDChallengeDns01Version 2")
    httpd.config.md(NAME).https(NAME)
    hold = gate.hold("/chalZ/")
    httpd.start().wait(lambda: hold.held, what="challenge in place")
    (renewer,) = httpd.renewing()
    renewer.signal(signal.SIGKILL)
    httpd.wait(lambda: not renewer.alive)
    hold.release()
    httpd.obtain(NAME)
    assert _is_balanced(dns)
