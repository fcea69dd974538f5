"""Failed renewals, as monitoring reads them: each failure has a problem, which stays until an attempt succeeds."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from harness.a2md import A2md
from harness.httpd import Httpd
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

NAME = "a.example.org"
ACME = "urn:ietf:params:acme:error:"


def _failed(httpd: Httpd) -> dict[str, Any]:
    """The report on a renewal that has failed once."""

    def report() -> dict[str, Any] | None:
        job = httpd.md_status(NAME).get("renewal", {})
        return job if job.get("errors", 0) and "next-run" in job else None

    return dict(httpd.wait(report, what="a failure"))


def _without(httpd: Httpd, directive: str) -> None:
    httpd.config.defaults = [line for line in httpd.config.defaults if not line.startswith(directive)]


# What is wrong, by the problem that ours tells of it; whether the C module tells the same.
CASES: dict[str, tuple[Callable[[Httpd], object], bool]] = {
    "challenge-mismatch": (lambda httpd: httpd.config.add("MDCAChallenges dns-01"), True),
    "challenge-mismatch before the order": (lambda httpd: httpd.config.add("MDPortMap http:- https:-"), False),
    "agreement-missing": (lambda httpd: _without(httpd, "MDCertificateAgreement"), False),
    "transport-connect": (lambda httpd: httpd.config.add("MDCertificateAuthority https://localhost:1/dir"), False),
    "transport-certificate": (lambda httpd: _without(httpd, "MDCACertificateFile"), False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_failure_has_the_c_modules_problem_or_a_name_of_its_own(case: str) -> None:
    spoil, is_common = CASES[case]

    def run(world: World) -> Any:
        httpd = world.httpd(world.pebble(nonce_reject=0, authz_reuse=0))
        httpd.config.managed(NAME).add("MDRetryDelay 1000s")
        spoil(httpd)
        httpd.log.expects("processing", "problem[", "AH10056", "AH10173", optional=True)
        httpd.log.expects("None of", "ACME server", "terms-of-service", "certificate", optional=True)
        httpd.start()
        last = _failed(httpd)["last"]
        return {"status": last["status"], "problem": last.get("problem")}

    differences = {} if is_common else {"problem": "the C module leaves it out"}
    if case.endswith("before the order"):
        differences["status"] = "the C module has 20014, as for what it does not know"
    last = Oracle(f"problem-{case.split()[0].replace(':', '-')}").both(run, differences)
    assert last["problem"] == case.split()[0]


def test_the_problem_is_in_the_report_the_status_and_the_log(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME).add("MDRetryDelay 1000s", "MDPortMap http:- https:-")
    httpd.log.expects("AH10056", "AH10173")
    httpd.start()
    job = _failed(httpd)
    assert (job["last"]["status"], job["last"]["problem"]) == (22, "challenge-mismatch")
    assert sandbox.job(NAME)["last"] == job["last"]
    # The log comes after the report.
    httpd.wait_log("AH10056")
    (line,) = httpd.log.find("AH10056")
    assert f"processing {NAME}: md[{NAME}] problem[challenge-mismatch] detail[None of the ACME" in line.text
    assert [entry["status"] for entry in job["log"]["entries"] if entry["type"] == "renewal-error"] == ["challenge-mismatch"]


@pytest.mark.pebble(nonce_reject=0)
def test_the_problem_stays_while_the_next_attempt_runs(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World) -> None:
    gate = world.gate(pebble)
    problem = {"type": f"{ACME}serverInternal", "detail": "try again"}
    gate.refuse("/order-plz", 500, problem, count=1)
    httpd.config.managed(NAME).add(f"MDCertificateAuthority {gate.directory}", "MDRetryDelay 1s", "MDServerStatus on")
    httpd.log.expects("AH10056")
    httpd.start().wait_log("AH10056")
    hold = gate.hold("/finalize-order/", answer=False, count=1)
    httpd.wait(lambda: hold.held, what="the next attempt")
    for last in (httpd.md_status(NAME)["renewal"]["last"], sandbox.job(NAME)["last"]):
        assert (last["status"], last["problem"]) == (20014, f"{ACME}serverInternal")
        assert last["detail"].startswith("try again")
    assert "ActivityLastProblem" in httpd.admin("/server-status?auto").text
    hold.release()
    httpd.obtain(NAME)
    assert httpd.log.count("AH10056") == 1


def test_a_store_that_fails_before_an_attempt_begins_is_a_problem_too(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME).add("MDRetryDelay 1000s")
    httpd.config.add("MDInitialDelay 1h")
    httpd.start()
    httpd.log.expects("AH10056", "md.json: it is not a regular file")
    # Somebody's mistake: the file cannot be written.
    (sandbox.staging(NAME) / "md.json" / "x").mkdir(parents=True)
    httpd.config.add("MDInitialDelay 0")
    httpd.graceful()
    job = _failed(httpd)
    assert (job["errors"], job["last"]["problem"]) == (1, "store-failure")
    assert sandbox.job(NAME)["last"] == job["last"]
    (line,) = httpd.log.find("AH10056")
    assert f"problem[store-failure] detail[{job['last']['detail']}]" in line.text
    assert f"cannot write {sandbox.staging(NAME) / 'md.json'}" in line.text


@pytest.mark.parametrize("text", ["{", "", "[]"], ids=["cut off", "empty", "no object"])
def test_a_staged_set_whose_settings_cannot_be_read_is_dropped_and_is_not_called_finished(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, text: str
) -> None:
    # Nobody looks at the domain in between.
    httpd.config.managed(NAME).add("MDCheckInterval 1h")
    httpd.start().wait_staged(NAME)
    assert httpd.md_status(NAME)["renewal"]["finished"]
    (sandbox.staging(NAME) / "md.json").write_text(text)
    httpd.wait(lambda: "renewal" not in httpd.md_status(NAME), what="end of the report")
    httpd.stop()
    checked = A2md(sandbox, pebble)("check")
    assert re.search(rf"discard.*{re.escape(NAME)}.*md\.json cannot be read", checked.out)
    httpd.log.expects("AH10069")
    httpd.start()
    (line,) = httpd.log.find("AH10069")
    assert f"{NAME}: the staged set cannot be used and is dropped, its renewal starts over: md.json cannot be read" in line.text
    httpd.obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
