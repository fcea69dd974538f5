"""Part of `make memcheck`: runs a server under valgrind from its start over renewals and five graceful restarts to its stop, with each
MPM. Judged: no use of memory that is not there or not set, and no memory of ours that is lost.

What httpd and its libraries do is left out by test/memcheck.supp. Variables: MEMCHECK_MPMS (event prefork), MEMCHECK_RESTARTS (5).
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from harness.httpd import Httpd
from harness.module import REPO, Missing, Module
from harness.world import World

_NAMES = ["a.example.org", "b.example.org"]
_SUMMARY = re.compile(r"ERROR SUMMARY: (\d+) errors")
_LEAK = re.compile(r"(definitely|indirectly|possibly) lost: ([\d,]+) bytes")
_MPMS = os.environ.get("MEMCHECK_MPMS", "event prefork").split()
_RESTARTS = int(os.environ.get("MEMCHECK_RESTARTS", "5"))
# Certificates of that life are due for renewal at once.
_LIFE, _WINDOW = 400, "99%"


def _options(logs: Path) -> list[str]:
    return [
        "valgrind",
        "--trace-children=yes",
        "--fair-sched=try",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite",
        "--show-leak-kinds=definite",
        "--num-callers=40",
        "--gen-suppressions=all",
        f"--suppressions={REPO}/test/memcheck.supp",
        f"--log-file={logs}/%p",
    ]


def _prepare(httpd: Httpd) -> None:
    """First certificates without valgrind, which needs minutes for the RSA key of an account."""
    for name in _NAMES:
        httpd.config.managed(name)
    httpd.config.add("MDPrivateKeys P-256", f"MDRenewWindow {_WINDOW}", "MDCheckInterval 1s")
    httpd.start().obtain(*_NAMES).stop()


def _live(httpd: Httpd) -> None:
    """A start, renewals, requests, restarts and a stop."""
    httpd.start()
    for round_ in range(_RESTARTS):
        httpd.wait_staged(*_NAMES, limit=300)
        for name in _NAMES:
            assert httpd.served(name).leaf
            httpd.md_status(name)
        httpd.admin("/md-metrics")
        httpd.admin("/server-status?auto")
        httpd.admin("/server-status")
        httpd.graceful()
        print(f"    restart {round_ + 1}", flush=True)
    httpd.stop()


def _judge(logs: Path) -> list[str]:
    """Complaints of valgrind, each with its stack; prints the sums."""
    found, sums, errors = [], Counter[str](), 0
    for log in sorted(logs.iterdir()):
        text = re.sub(r"^==\d+== ?", "", log.read_text(errors="replace"), flags=re.M)
        errors += sum(int(each) for each in _SUMMARY.findall(text)[-1:])
        for kind, size in _LEAK.findall(text):
            sums[kind] += int(size.replace(",", ""))
        if not _SUMMARY.search(text):
            found.append(f"{log.name} ended without a summary:\n{text[-500:]}")
        found += [block for block in re.split(r"\n\s*\n", text) if re.search(r"^\s+(at|by) 0x", block, re.M)]
    processes = len(list(logs.iterdir()))
    print(f"    {processes} processes, {errors} errors, bytes lost: {dict(sums)}")
    return found


def _run(mpm: str) -> list[str]:
    print(f"valgrind, {mpm}", flush=True)
    began, world = time.monotonic(), World("memcheck")
    logs = world.sandbox.writable("valgrind")
    logs.chmod(0o777)
    try:
        httpd = world.httpd(world.pebble(nonce_reject=0, profiles={"default": _LIFE}), mpm)
        _prepare(httpd)
        httpd.foreground, httpd.prefix = True, _options(logs)
        _live(httpd)
        found = _judge(logs)
    except BaseException:
        world.keep = True
        raise
    finally:
        world.close()
    print(f"    {time.monotonic() - began:.0f} s")
    if found:
        kept = REPO / "build" / f"memcheck-{mpm}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(logs, kept)
        print(f"    the logs are in {kept}")
    world.remove()
    return found


def main() -> int:
    if not shutil.which("valgrind"):
        print("valgrind is missing: apt-get install valgrind")
        return 1
    try:
        Module.named("ours")
    except Missing as missing:
        print(missing)
        return 1
    found = [complaint for mpm in _MPMS for complaint in _run(mpm)]
    for complaint, count in Counter(found).most_common():
        print(f"{count} x\n{complaint}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
