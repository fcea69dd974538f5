"""The four courses of a renewal that docs/renewals.md shows: requests, events and log lines, compared with a server."""

from __future__ import annotations

import re

import pytest

from harness.gate import Gate
from harness.httpd import Httpd
from harness.module import REPO
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = [pytest.mark.module("ours"), pytest.mark.pebble(nonce_reject=0, authz_reuse=0)]
NAME = "www.example.org"
ACME = "urn:ietf:params:acme:error:"
PATHS = {
    "/dir": "directory",
    "/nonce-plz": "newNonce",
    "/sign-me-up": "newAccount",
    "/order-plz": "newOrder",
    "/authZ/": "authorization",
    "/chalZ/": "challenge",
    "/finalize-order/": "finalize",
    "/certZ/": "certificate",
}
NOTES = """#!/bin/sh
echo "$1 $2" >>{notes}/events
"""


def shown(title: str) -> dict[str, list[str]]:
    """The lines of the course with this title, by their first words."""
    text = (REPO / "docs/renewals.md").read_text()
    [block] = re.findall(rf"^## {title}\n.*?^```text\n(.*?)^```$", text, re.M | re.S)
    found: dict[str, list[str]] = {"request": [], "event": [], "log": []}
    for line in block.splitlines():
        kind, _, rest = line.partition(" ")
        found[kind].append(rest.strip())
    return found


@pytest.fixture
def gate(httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox) -> Gate:
    gate = world.gate(pebble)
    command = sandbox.write("bin/note", NOTES.format(notes=sandbox.writable("notes")), 0o755)
    httpd.config.add("MDCAChallenges http-01", "MDPrivateKeys secp256r1", f"MDMessageCmd {command}")
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MDRetryDelay 300s").managed(NAME)
    return gate


def check(title: str, httpd: Httpd, gate: Gate, sandbox: Sandbox) -> None:
    expected = shown(title)
    last = expected["log"][-1].split()[0]
    httpd.wait_log(f" {last}: ")
    events = sandbox.writable("notes") / "events"
    httpd.wait(lambda: events.read_text().splitlines() == expected["event"], what=f"{expected['event']}")
    asked = [name for path in gate.answered for prefix, name in PATHS.items() if path.startswith(prefix)]
    # Polls repeat a request.
    assert list(dict.fromkeys(asked)) == expected["request"]
    # Tests run with more of the log than its usual level shows.
    lines = [line for line in httpd.log.lines if line.module == "md" and line.level in ("info", "notice", "warn", "error")]
    about = [line for line in lines if line.has(NAME) or line.has(" account ")]
    numbered = [(re.search(r"\b((?:AH|MD)\d+): (.*)", line.raw), line.level) for line in about]
    logged = [(found[1], level, found[2]) for found, level in numbered if found]
    assert [each[:2] for each in logged] == [tuple(line.split()[:2]) for line in expected["log"]], logged
    for line, (_, _, text) in zip(expected["log"], logged, strict=True):
        # What differs from server to server is an ellipsis.
        for part in line.split(maxsplit=2)[2].split("…"):
            assert part.strip() in text, (part, text)


def test_it_succeeds(httpd: Httpd, gate: Gate, sandbox: Sandbox) -> None:
    httpd.start()
    check("It succeeds", httpd, gate, sandbox)


def test_the_authority_refuses_the_name(httpd: Httpd, gate: Gate, sandbox: Sandbox) -> None:
    gate.refuse("/order-plz", 400, {"type": f"{ACME}rejectedIdentifier", "detail": "we do not issue for this name"})
    httpd.log.expects("AH10056")
    httpd.start()
    check("The authority refuses the name", httpd, gate, sandbox)


def test_the_authority_limits_the_domain(httpd: Httpd, gate: Gate, sandbox: Sandbox) -> None:
    limit = {"type": f"{ACME}rateLimited", "detail": "too many certificates already issued for this exact set of names"}
    gate.refuse("/order-plz", 429, limit, Retry_After="3600")
    httpd.log.expects("AH10056")
    httpd.start()
    check("The authority limits the domain", httpd, gate, sandbox)


def test_the_authority_is_away(httpd: Httpd, gate: Gate, sandbox: Sandbox) -> None:
    gate.refuse("/dir", 503, {"type": f"{ACME}serverInternal", "detail": "down for maintenance"})
    httpd.log.expects("AH10056")
    httpd.start()
    check("The authority is away", httpd, gate, sandbox)
