"""Many domains, many former certificates, many failures: all are done, and nothing grows without a limit."""

from __future__ import annotations

import json
from datetime import timedelta
from email.utils import parsedate_to_datetime
from itertools import accumulate
from typing import Any

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

NAME = "a.example.org"


@pytest.mark.module("ours")
@pytest.mark.parametrize("workers", [1, 8])
def test_forty_domains_are_obtained_with_one_account(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, workers: int) -> None:
    names = [f"d{number}.example.org" for number in range(40)]
    httpd.config.add("MDPrivateKeys secp256r1", "MDCAChallenges http-01", f"MDRenewWorkers {workers}")
    for name in names:
        httpd.config.managed(name)
    httpd.start().obtain(*names)
    served = {name: httpd.served(name, ca=pebble.root) for name in names}
    assert [name for name in names if not served[name].verified or served[name].names != [name]] == []
    assert len({each.leaf.serial for each in served.values()}) == len(names)
    assert pebble.new_accounts == len(sandbox.account_ids()) == 1
    assert sandbox.renewals() == list(sandbox.tmp().iterdir()) == []


@pytest.mark.module("ours")
@pytest.mark.pebble(nonce_reject=0, always_valid=True)
def test_two_hundred_domains_due_at_once_are_no_storm(httpd: Httpd, pebble: Pebble, world: World) -> None:
    gate, names = world.gate(pebble), [f"d{number}.example.org" for number in range(200)]
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MDPrivateKeys secp256r1")
    for name in names:
        httpd.config.md(name).http(name)
    httpd.start().wait_staged(*names, limit=300)
    assert (pebble.new_accounts, pebble.new_orders) == (1, 200)
    assert gate.most_at_once <= 8
    kinds = [(1 if "/order-plz" in path else -1) for path in gate.answered if "/order-plz" in path or "/certZ/" in path]
    assert max(accumulate(kinds)) <= 32
    assert kinds.count(1) == kinds.count(-1) == 200


@pytest.mark.module("ours")
def test_an_activation_leaves_its_report_and_fifty_former_sets(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    httpd.start().wait_staged(NAME)
    live = json.dumps(sandbox.md_json(NAME))
    for number in range(1, 53):
        sandbox.write(f"md/archive/{NAME}.{number}/md.json", live, mode=0o600)
    # Of somebody else.
    sandbox.write("md/archive/b.example.org.1/md.json", live, mode=0o600)

    httpd.graceful()
    kept = {path.name for path in sandbox.archive().iterdir()}
    assert len(kept) == 51
    # The set that was just replaced is the newest.
    assert {"b.example.org.1", f"{NAME}.53"} <= kept
    assert list(sandbox.tmp().iterdir()) == []
    entries = [entry["type"] for entry in sandbox.job(NAME, "domains")["log"]["entries"]]
    assert "message-installed" in entries and "finished" in entries


@pytest.mark.module("ours")
def test_the_wait_after_failures_grows_to_a_day(world: World, lone_httpd: Httpd, sandbox: Sandbox) -> None:
    httpd, base, day = lone_httpd, timedelta(seconds=600), timedelta(days=1)
    httpd.config.add(f"MDCertificateAuthority {world.recorder().says(500).url}", "MDCertificateAgreement accepted")
    httpd.config.add("MDContactEmail admin@example.org", f"MDRetryDelay {base.seconds}s", "MDCheckInterval 1s")
    httpd.config.add(f"MDPortMap http:{httpd.config.http_port}").managed(NAME)
    httpd.log.expects("AH10056", "MD0080")
    clock = world.clock(httpd)
    httpd.start()

    def failed(errors: int) -> dict[str, Any] | None:
        job = sandbox.job(NAME)
        return job if job.get("errors", 0) >= errors and "next-run" in job else None

    passed = timedelta()
    for errors in range(1, 12):
        job = httpd.wait(lambda errors=errors: failed(errors), what=f"failure {errors}")
        assert job["errors"] == errors
        delay = parsedate_to_datetime(job["next-run"]) - parsedate_to_datetime(job["last-run"])
        doubled = min(base * 2 ** (errors - 1), day)
        # Spread by half to either side; a minute for the run itself, and whole seconds.
        slack = timedelta(minutes=1)
        assert max(base, doubled / 2) - slack <= delay <= min(doubled * 1.5, day) + slack, (errors, delay)
        passed += delay + slack
        clock.shift(seconds=passed.total_seconds())
