"""A server among a hundred and more hostile CAs, responders and proxies: each row of the table ends in its sentence, and what
else the server does goes on. `make hostile` runs all rows; the gate runs those that are marked as quick."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from harness.a2md import A2md
from harness.hostile import HostileCa, Row
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.wait import TimedOut
from harness.world import World

from hostile.rows import HONEST, ROWS

_AT_PEBBLE = "good.example.org"
_LARGEST_CHILD = 64 << 10
"""KiB."""
_LONGEST_DETAIL = 8 << 10
_FORGING = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PATIENCE = 30
"""Seconds in which a good domain has its certificate."""
_IS_WHOLE = os.environ.get("HOSTILE") == "all"


def _chosen() -> dict[str, Row]:
    return {key: row for key, row in ROWS.items() if _IS_WHOLE or row.quick}


def _domain(key: str) -> str:
    return f"{key}.hostile.example.org"


_GOOD = [_AT_PEBBLE, *map(_domain, HONEST)]


def _declare(httpd: Httpd, ca: HostileCa, key: str, row: Row) -> None:
    if row.place == "ocsp":
        leaf = ca.leaves[key] = ca.issuer.leaf(_domain(key), ocsp_url=ca.responder(key))
        files = f"MDCertificateFile {leaf.chain_file}", f"MDCertificateKeyFile {leaf.key_file}"
        httpd.config.md_set(_domain(key), *files, "MDStapling on").https(_domain(key))
        return
    proxy = [f"MDHttpProxy {ca.proxy}"] if row.place == "proxy" else []
    httpd.config.md_set(_domain(key), f"MDCertificateAuthority {ca.directory(key)}", "MDRenewMode always", *proxy)


def _give_accounts(sandbox: Sandbox, ca: HostileCa, rows: dict[str, Row]) -> None:
    """Make the store with an account at each CA that is not spoilt before that: keys of so many would take minutes."""
    secret = os.urandom(48)
    text = {"store": {"version": 3.0}, "key": base64.urlsafe_b64encode(secret).decode()}
    sandbox.write("md/md_store.json", json.dumps(text), 0o600)
    sandbox.store.chmod(0o755)
    sealed = BestAvailableEncryption(secret)
    pem = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed).decode()
    for key, row in rows.items():
        if row.place not in ("dir", "nonce", "account", "ocsp", "proxy"):
            url = ca.directory(key)
            account = {"status": "valid", "url": url.replace("/dir", "/account/1"), "ca-url": url, "agreement": "accepted"}
            item = f"md/accounts/ACME-{urllib.parse.urlsplit(url).hostname[-16:]}-0000"
            sandbox.write(f"{item}/account.json", json.dumps(account))
            sandbox.write(f"{item}/account.pem", pem)


def _end(httpd: Httpd, key: str, row: Row) -> str | None:
    """What the domain's report ends with: `finished`, or a sentence; None as long as it goes on."""
    job: dict[str, Any] = httpd.sandbox.job(_domain(key), "ocsp" if row.place == "ocsp" else "staging")
    if job.get("finished"):
        return "finished"
    detail: str | None = job.get("last", {}).get("detail") if job.get("errors") else None
    return detail


def _complaints(key: str, row: Row, end: str, asked: list[str]) -> list[str]:
    found = []
    if not re.search(row.ends, end):
        found.append(f"ends in: {end[:300]}")
    if len(end) > _LONGEST_DETAIL:
        found.append(f"its sentence has {len(end)} characters")
    if forged := _FORGING.findall(end):
        found.append(f"its sentence has the characters {sorted(set(forged))}")
    if len(asked) > row.requests:
        found.append(f"{len(asked)} requests, {row.requests} were allowed: {asked[:3]}...{asked[-3:]}")
    return [f"{key} ({row.what}): {each}" for each in found]


def _peak(pid: int) -> int:
    """The most memory that a process ever had, in KiB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


@pytest.mark.pebble(nonce_reject=0)
def test_nothing_that_is_answered_hurts_and_each_failure_has_its_sentence(
    httpd: Httpd, pebble: Pebble, world: World
) -> None:
    rows = _chosen()
    honest = list(HONEST.items())
    ca = world.hostile_ca(rows | HONEST)
    httpd.config.add("MDRenewWorkers 32", "MDRetryDelay 1h", "MDPrivateKeys P-256")
    httpd.config.log_level = "info"
    _give_accounts(httpd.sandbox, ca, rows | HONEST)
    httpd.config.managed(_AT_PEBBLE)
    for number, (key, row) in enumerate(rows.items()):
        # Most of the rows that cost their time come first.
        if number % 8 == 0 and honest:
            _declare(httpd, ca, *honest.pop())
        _declare(httpd, ca, key, row)
    httpd.log.expects("hostile.example.org", ".ca.localhost", optional=True)
    httpd.start()

    began = time.monotonic()
    ends: dict[str, str] = {}
    good: dict[str, float] = {}

    def all_ended() -> bool:
        for name in set(_GOOD) - good.keys():
            if httpd.sandbox.job(name).get("finished"):
                good[name] = time.monotonic() - began
        for key in rows.keys() - ends.keys():
            if (end := _end(httpd, key, rows[key])) is not None:
                ends[key] = end
        return ends.keys() == rows.keys() and len(good) == len(_GOOD)

    with contextlib.suppress(TimedOut):
        httpd.wait(all_ended, 220 if _IS_WHOLE else 120, "the ends of all rows")
    peak = max(_peak(child.pid) for child in httpd.children())
    requests = sum(map(len, ca.requests.values()))
    latest = max(good.values(), default=0)
    print(f"{len(rows)} rows, {requests} requests, largest child {peak} KiB, good domains after {latest:.0f} s")
    sandbox = httpd.sandbox
    sandbox.write("ends", "".join(f"{key} {row.what} [{len(ca.requests[key])}]: {ends.get(key)!r}\n" for key, row in rows.items()))

    complaints = [f"{name} has no certificate" for name in _GOOD if name not in good]
    complaints += [f"{key} ({rows[key].what}): does not end" for key in sorted(rows.keys() - ends.keys())]
    if _IS_WHOLE and latest > _PATIENCE:
        complaints.append(f"the good domains have their certificates after {latest:.0f} s")
    complaints += [each for key, end in sorted(ends.items()) for each in _complaints(key, rows[key], end, ca.requests[key])]
    said = A2md(sandbox, pebble)("status")
    told = {"a2md status": said.out + said.err, "server-status": httpd.admin("/server-status?auto").text, "log": "".join(map(str, httpd.log.lines))}
    complaints += [f"{what} has the characters {sorted(set(forged))}" for what, text in told.items() if (forged := set(_FORGING.findall(text)) - {"\n"})]
    assert not httpd.crashes()
    assert not complaints, "\n".join(complaints)
    assert peak < _LARGEST_CHILD
