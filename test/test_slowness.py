"""Limits, dead authorities and commands that hang: they concern their own domains, and no other domain."""

from __future__ import annotations

from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from harness.gate import Gate, Refusal
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

GOOD = "good.example.org"
WAYS = ["silent", "drips", "drops", "hangs"]

HANGING = """#!/bin/sh
case "$1 $2" in "renewing dead"*) ;; *) exit 0 ;; esac
exec sleep 1000
"""


def dead_domains(httpd: Httpd, world: World, way: str, count: int) -> list[str]:
    """Configures domains in front of the good one, and what keeps them from their certificates."""
    names = [f"dead{number}.example.org" for number in range(count)]
    if way == "hangs":
        command = world.sandbox.write("bin/hang", HANGING, 0o755)
        httpd.config.add(f"MDMessageCmd {command}", "MDCmdTimeout 600s")
    url = world.dead(way).url if way != "hangs" else None
    httpd.log.expects(*["MD0080"] if url else [])
    for name in names:
        httpd.config.md_set(name, *([f"MDCertificateAuthority {url}"] if url else ["MDRenewMode always"]))
        httpd.config.http(name).https(name)
    return names


@pytest.mark.module("ours")
@pytest.mark.pebble(nonce_reject=0)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("workers", [2, 8])
def test_domains_that_get_no_answer_delay_no_other(
    httpd: Httpd, world: World, sandbox: Sandbox, way: str, workers: int
) -> None:
    httpd.config.add(f"MDRenewWorkers {workers}")
    names = dead_domains(httpd, world, way, 40)
    httpd.config.managed(GOOD)
    # The dead ones fail in the end, on a slow machine also meanwhile.
    httpd.log.expects("AH10056", "MD0019", "MD0060", optional=True)
    httpd.start().wait_staged(GOOD)
    reports = [sandbox.job(name) for name in names]
    # Nobody has waited for an end of them: one has been tried, if the time for an answer is over at all.
    assert sum(report.get("errors", 0) for report in reports) <= 2
    waiting = [report for report in reports if report.get("errors") == 0 and "next-run" in report]
    assert all("timed out" in report["last"]["detail"] for report in waiting)


@pytest.mark.module("ours")
@pytest.mark.pebble(nonce_reject=0)
def test_a_single_worker_makes_one_call_to_a_dead_authority(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox
) -> None:
    httpd.config.add("MDRenewWorkers 1")
    names = dead_domains(httpd, world, "drops", 20)
    httpd.config.managed(GOOD)
    httpd.log.expects("AH10056", "MD0019")
    httpd.start().obtain(GOOD)
    assert httpd.served(GOOD, ca=pebble.root).verified
    (failed,) = [job for name in names if (job := sandbox.job(name)).get("errors", 0) > 0]
    assert failed["last"]["problem"] == "transport-timeout"
    waiting = httpd.md_status(names[-1])["renewal"]
    assert "next-run" in waiting and "timed out" in waiting["last"]["detail"]


def _limit(gate: Gate, count: int, retry_after: int) -> Refusal:
    limit = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates for this exact set of names"}
    return gate.refuse("/order-plz", 429, limit, count, Retry_After=str(retry_after))


def _behind(gate: Gate, httpd: Httpd, count: int) -> list[str]:
    names = [f"d{number}.example.org" for number in range(count)]
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MDPrivateKeys secp256r1")
    for name in names:
        httpd.config.managed(name)
    return names


@pytest.mark.module("ours")
@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
def test_a_limit_of_one_domain_leaves_sixty_others_alone(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox
) -> None:
    gate = world.gate(pebble)
    refusal = _limit(gate, 1, 5400)
    names = _behind(gate, httpd, 61)
    httpd.log.expects("AH10056")
    httpd.start()
    httpd.wait(lambda: sum(sandbox.job(name).get("finished", False) for name in names) == 60, 120, "60 certificates")
    assert (refusal.given, pebble.new_orders) == (1, 60)
    (limited,) = [job for name in names if not (job := httpd.md_status(name)["renewal"])["finished"]]
    assert "exact set" in limited["last"]["detail"]
    assert timedelta(seconds=5300) < _wait_of(limited) < timedelta(seconds=5500)


@pytest.mark.module("ours")
@pytest.mark.pebble(nonce_reject=0)
def test_a_limit_of_the_account_is_found_with_three_domains(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox
) -> None:
    gate = world.gate(pebble)
    refusal = _limit(gate, 1000, 3600)
    names = _behind(gate, httpd, 40)
    httpd.log.expects("AH10056", "MD0019")
    httpd.start()
    httpd.wait(lambda: all("next-run" in httpd.md_status(name).get("renewal", {}) for name in names), what="40 reports")
    # Each of the four workers that may call the authority had one under way when the third was refused.
    assert 3 <= refusal.given <= 6
    assert pebble.new_orders == 0
    waiting = [job for name in names if not (job := sandbox.job(name)).get("errors")]
    assert len(waiting) == 40 - refusal.given
    assert all("exact set" in job["last"]["detail"] for job in waiting)
    given = refusal.given
    httpd.graceful()
    httpd.wait_log("AH10107", times=httpd.log.count("AH10107") + 2)
    assert refusal.given == given


def _wait_of(job: dict[str, Any]) -> timedelta:
    return parsedate_to_datetime(job["next-run"]) - parsedate_to_datetime(job["last-run"])
