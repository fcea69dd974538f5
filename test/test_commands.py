"""Commands and the server's life: what a reload, a stop and a limit do to them, what they inherit, and which events they see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.a2md import A2md
from harness.dns import Dns
from harness.httpd import Httpd
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
NAME = "a.example.org"

# As people write them for "reload httpd, then the mail server": something of root's reloads when the flag is there.
RELOADING = """#!/bin/sh
[ "$1" = {event} ] || exit 0
echo "begins $2" >>{notes}/log
touch {notes}/flag; while [ -e {notes}/flag ]; do sleep 0.05; done
sleep 1
echo "done $2" >>{notes}/log
"""
# Knows the events of the C module.
OLD = """#!/bin/sh
case "$1" in
renewing|renewed|installed|expiring|errored|ocsp-renewed|ocsp-errored|challenge-setup:*) echo "$1 $2" >>{notes}/log ;;
*) exit 1 ;;
esac
"""
# Notes that it is asked to end, and ends.
ASKED = """#!/bin/sh
[ "$1" = renewed ] || exit 0
trap 'echo "asked $2" >>{notes}/log; exit 1' TERM
echo "begins $2" >>{notes}/log
while :; do sleep 0.05; done
"""


def _script(sandbox: Sandbox, text: str, **values: object) -> Path:
    return sandbox.write("bin/message", text.format(notes=sandbox.writable("notes"), **values), 0o755)


def _log(sandbox: Sandbox) -> list[str]:
    log = sandbox.writable("notes") / "log"
    return log.read_text().splitlines() if log.exists() else []


def _flag(sandbox: Sandbox) -> Path:
    return sandbox.writable("notes") / "flag"


def _reload(world: World) -> dict[str, Any]:
    """A command for `renewed` has the server reload, and goes on."""
    sandbox, pebble = world.sandbox, world.pebble(nonce_reject=0, authz_reuse=0)
    httpd = world.httpd(pebble)
    httpd.config.add(f"MDMessageCmd {_script(sandbox, RELOADING, event='renewed')}").managed(NAME)
    httpd.start().wait(_flag(sandbox).exists, what="command")
    httpd.graceful(draining=True)
    found = {"served": httpd.served(NAME, ca=pebble.root).verified}
    _flag(sandbox).unlink()
    httpd.wait(lambda: f"done {NAME}" in _log(sandbox), what="end of the command")
    httpd.graceful()
    return found | {"calls": _log(sandbox), "errors": httpd.log.count("AH10109")}


def test_a_command_that_reloads_the_server_comes_to_its_end_as_with_the_c_module() -> None:
    found = Oracle().both(_reload)
    assert found == {"served": True, "calls": [f"begins {NAME}", f"done {NAME}"], "errors": 0}


@pytest.mark.module("ours")
@pytest.mark.parametrize("mpm", ["worker", "prefork"])
def test_a_command_outlives_a_reload_with_the_other_mpms(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.add(f"MDMessageCmd {_script(sandbox, RELOADING, event='renewed')}").managed(NAME)
    httpd.start().wait(_flag(sandbox).exists, what="command")
    httpd.graceful(draining=True)
    assert httpd.served(NAME, ca=pebble.root).verified
    _flag(sandbox).unlink()
    httpd.wait(lambda: f"done {NAME}" in _log(sandbox), what="end of the command")


@pytest.mark.module("ours")
def test_what_a_command_says_after_a_reload_counts(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    # Others go on meanwhile, and the next generation neither asks again nor renews without an answer.
    httpd.config.add(f"MDMessageCmd {_script(sandbox, RELOADING, event='renewing')}").managed(NAME)
    httpd.start().wait(_flag(sandbox).exists, what="command")
    httpd.config.add("MDMessageCmd /bin/true").managed("b.example.org")
    httpd.graceful(draining=True).wait_staged("b.example.org")
    assert pebble.new_orders == 1
    _flag(sandbox).unlink()
    httpd.wait_staged(NAME)
    assert _log(sandbox) == [f"begins {NAME}", f"done {NAME}"]
    kinds = [entry["type"] for entry in sandbox.job(NAME)["log"]["entries"]]
    assert kinds.count("message-renewing") == 1 and httpd.log.count(f"AH10267: {NAME}: event 'renewing'") >= 1


@pytest.mark.module("ours")
@pytest.mark.parametrize("mpm", ["event", "prefork"])
@pytest.mark.parametrize("how", ["stop", "restart", "reload and stop"])
def test_a_stop_asks_a_command_to_end_and_says_so(httpd: Httpd, sandbox: Sandbox, how: str) -> None:
    command = _script(sandbox, ASKED)
    httpd.config.add(f"MDMessageCmd {command}").managed(NAME)
    httpd.log.expects("MD0060")
    httpd.start().wait(lambda: _log(sandbox), what="command")
    httpd.config.clear()
    if how == "restart":
        httpd.restart()
    else:
        if how == "reload and stop":
            httpd.graceful(draining=True)
        httpd.stop()
    assert _log(sandbox) == [f"begins {NAME}", f"asked {NAME}"]
    [line] = httpd.log.find("MD0060")
    assert f"{NAME}: MDMessageCmd {command} for event 'renewed' is ended early" in line.text


@pytest.mark.module("ours")
def test_the_limit_of_a_command_counts_after_a_reload_too(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.add("MDCmdTimeout 4s", f"MDMessageCmd {_script(sandbox, ASKED)}").managed(NAME)
    httpd.log.expects("AH10109")
    httpd.start().wait(lambda: _log(sandbox), what="command")
    httpd.config.add("MDMessageCmd /bin/true")
    httpd.graceful()
    assert _log(sandbox) == [f"begins {NAME}", f"asked {NAME}"]
    text = httpd.log.find("AH10109")[0].text
    assert "was stopped after 4s" in text and "'renewed'" in text


@pytest.mark.module("ours")
def test_commands_have_no_signal_blocked_or_ignored(httpd: Httpd, dns: Dns, sandbox: Sandbox) -> None:
    notes = sandbox.writable("notes")
    # Without another process: some shells block signals while they start one.
    lines = 'while read -r line; do case $line in SigBlk*|SigIgn*) echo "$line" ;; esac; done </proc/$$/status'
    noting = f'{lines} >"{notes}/${{1%%:*}}"'
    message = sandbox.write("bin/message", f"#!/bin/sh\n{noting}\n", 0o755)
    dns01 = sandbox.write("bin/noting-dns01", f'#!/bin/sh\n{noting}\nexec {dns.command()} "$@"\n', 0o755)
    httpd.config.add("MDCAChallenges dns-01", f"MDChallengeDns01 {dns01}", f"MDMessageCmd {message}").managed(NAME)
    httpd.start().obtain(NAME)
    httpd.wait((notes / "installed").exists, what="installed")
    found = {path.name: path.read_text() for path in notes.iterdir()}
    assert {"renewing", "renewed", "installed", "setup", "teardown"} <= set(found)
    for name, text in found.items():
        blocked, ignored = (int(line.split()[1], 16) for line in text.splitlines())
        # Some parents leave 32 and 33 ignored, which are the C library's own.
        assert (blocked, ignored & ~(3 << 31)) == (0, 0), name


def _old(world: World) -> list[str]:
    """Events of two names that a script gets which knows only the events of the C module."""
    sandbox = world.sandbox
    httpd = world.httpd(world.pebble(nonce_reject=0, authz_reuse=0))
    httpd.config.add(f"MDMessageCmd {_script(sandbox, OLD)}").managed(NAME, f"www.{NAME}")
    httpd.start().wait(lambda: sandbox.job(NAME).get("notified-renewed"), what="end of the telling")
    httpd.graceful().wait(lambda: f"installed {NAME}" in _log(sandbox), what="installed")
    # The CA chooses which name comes first.
    calls = _log(sandbox)
    return [calls[0], *sorted(calls[1:3]), *calls[3:]]


def test_a_script_of_the_c_module_sees_its_events_and_no_other() -> None:
    found = Oracle().both(_old)
    setups = [f"challenge-setup:http-01:{name} {NAME}" for name in (NAME, f"www.{NAME}")]
    assert found == [f"renewing {NAME}", *sorted(setups), f"renewed {NAME}", f"installed {NAME}"]


@pytest.mark.module("ours")
def test_all_events_are_told_if_the_configuration_says_so_but_for_what_was_refused(httpd: Httpd, sandbox: Sandbox) -> None:
    refusing = f"""#!/bin/sh
    echo "$1" >>{{notes}}/log
    case "$1" in challenge-setup:*:www.{NAME}) test -e {{notes}}/good ;; esac
    """
    httpd.config.add("MDMessageEvents all", f"MDMessageCmd {_script(sandbox, refusing)}", "MDRetryDelay 1s")
    httpd.config.managed(f"www.{NAME}")
    httpd.log.expects("AH10109", "AH10056")
    httpd.start().wait_log("AH10056")
    setup, teardown = (f"challenge-{what}:http-01:www.{NAME}" for what in ("setup", "teardown"))
    httpd.wait(lambda: "errored" in _log(sandbox), what="errored")
    assert setup in _log(sandbox) and teardown not in _log(sandbox)
    (sandbox.writable("notes") / "good").touch()
    httpd.wait_staged(f"www.{NAME}")
    assert teardown in _log(sandbox)


@pytest.mark.module("ours")
def test_a_denial_is_in_the_report_and_is_no_error(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.add("MDMessageCmd /nonexistent/message", "MDServerStatus on").managed(NAME)
    httpd.log.expects("AH10109", "MD0061")
    assert "MD0061" in httpd.configtest().text
    httpd.start().wait_log("AH10060")
    httpd.wait(lambda: httpd.md_status(NAME).get("renewal", {}).get("last"), what="report")
    renewal = httpd.md_status(NAME)["renewal"]
    assert (renewal["errors"], renewal["last"]["status"], renewal["last"]["problem"]) == (0, 20022, "urn:org:apache:httpd:log:AH10109:")
    detail = "MDMessageCmd /nonexistent/message cannot be executed"
    assert detail in renewal["last"]["detail"]
    assert 'problem="urn:org:apache:httpd:log:AH10109:"' in httpd.admin("/md-metrics").text
    assert detail in httpd.admin("/server-status").text and detail in A2md(sandbox)("status", NAME).out
    line, *_ = httpd.log.find("MD0061")
    assert "MDMessageCmd /nonexistent/message: the command cannot be executed: No such file" in line.text


@pytest.mark.module("ours")
@pytest.mark.parametrize("directive", ["MDMessageCmd", "MDNotifyCmd", "MDChallengeDns01"])
def test_a_command_that_is_not_executable_is_a_warning_of_the_configuration(lone_httpd: Httpd, sandbox: Sandbox, directive: str) -> None:
    command = sandbox.write("bin/forgotten", "#!/bin/sh\n", 0o644)
    lone_httpd.config.add("MDCertificateAuthority https://localhost:1/dir", "MDRenewMode manual", f"{directive} {command} a").managed(NAME)
    lone_httpd.log.expects("MD0061")
    checked = lone_httpd.configtest()
    assert checked.ok and f"{directive} {command} a: the command cannot be executed: it is not executable" in checked.text
