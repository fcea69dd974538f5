"""Failed renewals, as an administrator sees them: what happened, what to do, when the next attempt is."""

from __future__ import annotations

import json
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from harness.crash import Fault
from harness.dns import Dns
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

NAME = "a.example.org"
ACME = "urn:ietf:params:acme:error:"


def _failed(httpd: Httpd, errors: int = 1) -> dict[str, Any]:
    """The report after at least so many errors, read while no attempt is at work."""

    def report() -> dict[str, Any] | None:
        job = httpd.md_status(NAME).get("renewal", {})
        return job if job.get("errors", 0) >= errors and "next-run" in job else None

    return dict(httpd.wait(report, what=f"{errors} errors of {NAME}"))


def _wait_of(job: dict[str, Any]) -> timedelta:
    return parsedate_to_datetime(job["next-run"]) - parsedate_to_datetime(job["last-run"])


def _looks(httpd: Httpd, times: int) -> None:
    httpd.wait_log("AH10107", times=httpd.log.count("AH10107") + times)


def test_a_challenge_that_fails_is_told_in_the_log_the_report_and_the_status(
    httpd: Httpd, pebble: Pebble, dns: Dns, sandbox: Sandbox
) -> None:
    dns.servfail(NAME)
    httpd.config.managed(NAME).add("MDRetryDelay 1000s")
    httpd.log.expects("AH10056")
    httpd.start()
    last = _failed(httpd)["last"]
    assert last["problem"] == f"{ACME}connection"
    assert last["detail"].startswith(f"{NAME}: CA considers answer to challenge invalid: ")
    assert last["detail"].endswith("check its addresses, IPv6 too, firewalls and MDPortMap")
    assert sandbox.job(NAME)["last"] == last
    (line,) = httpd.log.find("AH10056")
    said = f"processing {NAME}: md[{NAME}] while[{last['activity']}] problem[{ACME}connection] detail[{last['detail'][:60]}"
    assert said in line.text
    assert httpd.log.find(f"AH10057: {NAME}: encountered error for the 1. time")


@pytest.mark.pebble(nonce_reject=0)
def test_a_validation_that_fails_is_tried_five_times_an_hour_at_most(
    httpd: Httpd, pebble: Pebble, dns: Dns, world: World
) -> None:
    clock = world.clock(httpd)
    dns.servfail(NAME)
    httpd.config.managed(NAME)
    httpd.log.expects("AH10056", "AH10064")
    httpd.start()
    job = _failed(httpd, errors=4)
    assert timedelta(minutes=58) < _wait_of(job) <= timedelta(hours=1)
    httpd.graceful()
    _looks(httpd, 2)
    assert len(pebble.requests("/chalZ/")) == 4
    # Somebody may have put something right, once.
    httpd.stop()
    httpd.start().wait_log("AH10057", times=5)
    httpd.stop()
    httpd.start()
    _looks(httpd, 2)
    assert len(pebble.requests("/chalZ/")) == 5
    dns.servfail(NAME, on=False)
    clock.shift(minutes=61)
    httpd.obtain(NAME)


@pytest.mark.pebble(nonce_reject=0)
@pytest.mark.parametrize(("status", "kind"), [(429, "rateLimited"), (503, "serverInternal")])
def test_a_ca_that_says_when_to_come_back_is_obeyed_over_restarts(
    httpd: Httpd, pebble: Pebble, world: World, status: int, kind: str
) -> None:
    gate, clock = world.gate(pebble), world.clock(httpd)
    problem = {"type": ACME + kind, "detail": "too many orders"}
    refusal = gate.refuse("/order-plz", status, problem, Retry_After="1000", Link='<https://ca/limits>;rel="help"')
    httpd.config.managed(NAME).add(f"MDCertificateAuthority {gate.directory}")
    httpd.log.expects("AH10056", "AH10064")
    httpd.start()
    job = _failed(httpd)
    assert timedelta(seconds=990) < _wait_of(job) <= timedelta(seconds=1010)
    assert job["last"]["detail"].startswith("too many orders, see https://ca/limits; ")
    httpd.graceful()
    _looks(httpd, 2)
    httpd.stop()
    httpd.start()
    _looks(httpd, 2)
    assert (refusal.given, pebble.new_orders) == (1, 0)
    clock.shift(seconds=1010)
    httpd.obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified


@pytest.mark.pebble(nonce_reject=0, profiles={"default": 600})
def test_a_retry_after_takes_no_more_than_a_third_of_what_is_left_of_the_certificate(
    httpd: Httpd, pebble: Pebble, world: World
) -> None:
    gate = world.gate(pebble)
    httpd.config.managed(NAME).add(f"MDCertificateAuthority {gate.directory}", "MDRenewViaARI off")
    httpd.start().obtain(NAME)
    gate.refuse("/order-plz", 503, {"type": f"{ACME}serverInternal", "detail": "maintenance"}, Retry_After="86400")
    httpd.config.add("MDRenewWindow 1d")
    httpd.log.expects("AH10056")
    httpd.graceful()
    assert timedelta(seconds=150) < _wait_of(_failed(httpd)) <= timedelta(seconds=202)


def test_an_order_that_is_not_ready_yet_is_looked_at_again(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox
) -> None:
    gate = world.gate(pebble)
    not_ready = gate.refuse("/finalize-order/", 403, {"type": f"{ACME}orderNotReady", "detail": "pending"}, count=3)
    httpd.config.managed(NAME).add(f"MDCertificateAuthority {gate.directory}")
    httpd.start().obtain(NAME)
    assert (not_ready.given, pebble.new_orders) == (3, 1)
    kinds = [entry["type"] for entry in sandbox.job(NAME, "domains")["log"]["entries"]]
    assert not {"renewal-error", "message-errored"} & set(kinds)
    assert not httpd.log.find("AH10056")
    assert httpd.served(NAME, ca=pebble.root).verified


def test_subproblems_are_told_and_a_refused_name_is_tried_again_a_day_later(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox
) -> None:
    part = {"type": f"{ACME}rejectedIdentifier", "detail": 'not "this" one', "identifier": {"type": "dns", "value": NAME}}
    gate = world.gate(pebble)
    gate.refuse("/order-plz", 400, {"type": f"{ACME}compound", "detail": 'some "names"', "subproblems": [part]})
    httpd.config.managed(NAME).add(f"MDCertificateAuthority {gate.directory}")
    httpd.log.expects("AH10056")
    httpd.start()
    job = _failed(httpd)
    assert _wait_of(job) > timedelta(hours=11)
    assert job["last"]["subproblems"] == [{**part, "detail": "not 'this' one"}]
    says = f"some 'names' ({NAME}: not 'this' one); take the name out of the domain, or use another CA"
    assert job["last"]["detail"] == says
    assert sandbox.job(NAME)["last"] == job["last"]
    (line,) = httpd.log.find("AH10056")
    assert f"problem[{ACME}compound] detail[{says}] subproblems[{NAME}: not 'this' one]" in line.text
    assert '"' not in line.text
    assert line.text.endswith(f", next attempt at {job['next-run']}")


def test_a_log_in_json_stays_json_whatever_the_ca_says(httpd: Httpd, pebble: Pebble, world: World) -> None:
    gate = world.gate(pebble)
    detail = 'no "quotes", C:\\path, r\u00e9fus\u00e9\n\x1b[1m\x0b' + "x" * 400
    part = {"type": f'{ACME}"odd"', "detail": detail, "identifier": {"type": "dns", "value": f'"{NAME}"'}}
    problem = {"type": f"{ACME}malformed", "detail": detail, "subproblems": [part] * 20, "instance": 'https://ca/"'}
    gate.refuse("/order-plz", 400, problem)
    httpd.config.managed(NAME).add(f"MDCertificateAuthority {gate.directory}")
    members = {"module": "%-m", "level": "%-l", "pid": "%P", "text": "%M"}
    httpd.config.add("ErrorLogFormat '" + json.dumps(members) + "'")
    httpd.log.expects("AH10056")
    httpd.start()
    _failed(httpd)
    httpd.stop()
    lines = [json.loads(line) for line in httpd.log.path.read_text().splitlines()]
    assert [line for line in lines if line["module"] == "md" and "no 'quotes', C:\\path, r" in line["text"]], lines


def test_a_connection_that_the_system_does_not_permit_names_the_switch_of_selinux(
    httpd: Httpd, pebble: Pebble, world: World
) -> None:
    httpd.config.managed(NAME)
    httpd.log.expects("AH10056")
    pebble.kill()
    httpd.start()
    httpd.wait_log("AH10056")
    crash = world.crash(httpd).attach(Fault("connect", error="EACCES"))
    httpd.wait_log("setsebool -P httpd_can_network_connect on")
    assert crash.hits
    crash.stop()
    pebble.start()
    httpd.obtain(NAME)


def test_a_ca_that_is_not_trusted_or_not_there_is_said_with_the_directive(
    httpd: Httpd, pebble: Pebble, world: World
) -> None:
    cases = {
        "trust.example.org": ("MDCACertificateFile none", "name its root certificate in MDCACertificateFile"),
        "name.example.org": ("MDCertificateAuthority https://ca.invalid/dir", "the name of ca.invalid cannot be resolved"),
        "proxy.example.org": ("MDHttpProxy http://user:secret@127.0.0.1:1", "the proxy 127.0.0.1:1 of MDHttpProxy cannot"),
        "https.example.org": (f"MDHttpProxy https://localhost:{pebble.port}", "in MDHttpProxyCACertificateFile"),
        "moved.example.org": (f"MDCertificateAuthority {_moved(world)}", "redirect to <https://new.invalid/>"),
    }
    for name, (line, _) in cases.items():
        httpd.config.md_set(name, line).http(name).https(name)
    httpd.log.expects("AH10056")
    httpd.start()
    for name, (_, says) in cases.items():
        httpd.wait(lambda name=name: httpd.log.find(f"AH10056: processing {name}:"), what=f"the error of {name}")
        assert says in httpd.log.find(f"AH10056: processing {name}:")[0].text
    assert not any("secret" in line.text for line in httpd.log.lines)


def _moved(world: World) -> str:
    return world.recorder().says(301, b"", Location="https://new.invalid/").url
