"""MDActivation live, and certificates that are not of the server's own renewals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest

from harness.a2md import A2md, a2md
from harness.httpd import Httpd
from harness.live import wait_for_all
from harness.pebble import Pebble
from harness.pki import Leaf, Pki
from harness.sandbox import Access, Sandbox

pytestmark = pytest.mark.module("ours")

NAME = "a.example.org"
WITHIN = 10.0
BUSY = 20.0
"""So long a machine that is busy with other tests may take for what it has to do in that time."""


def watches(pid: int) -> list[int]:
    """The number of watches in each of inotify's queues that a process has."""
    queues = [fd.name for fd in Path(f"/proc/{pid}/fd").iterdir() if os.readlink(fd) == "anon_inode:inotify"]
    return sorted(Path(f"/proc/{pid}/fdinfo/{number}").read_text().count("inotify wd:") for number in queues)


@contextmanager
def served_in_time(httpd: Httpd, what: str) -> Iterator[None]:
    """Another certificate is served soon after the block, by all children: they look at files one after the other."""
    before = httpd.served(NAME).leaf
    seen = [before]

    def is_another() -> bool:
        seen[0] = httpd.served(NAME).leaf
        return seen[0] != before

    yield
    written = time.monotonic()
    httpd.wait(is_another, 60, what)
    wait_for_all(httpd, NAME, seen[0].serial)
    assert time.monotonic() - written < WITHIN + BUSY, what


def rename_to(target: Path, source: Path, age: float = 0) -> None:
    """Replace a file as `install` or `rsync` do, with a time in the past if it is to look old."""
    new = target.with_suffix(".new")
    new.write_bytes(source.read_bytes())
    then = time.time() - age
    os.utime(new, (then, then))
    new.rename(target)


def put(sandbox: Sandbox, leaf: Leaf) -> Iterator[None]:
    """Put a set into domains/ in two steps."""
    rename_to(sandbox.domains(NAME) / "pubcert.secp256r1.pem", leaf.chain_file, age=3600)
    yield
    rename_to(sandbox.domains(NAME) / "privkey.secp256r1.pem", leaf.key_file)


@pytest.mark.pebble(always_valid=True)
def test_certificates_of_others_are_served_within_seconds(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, pki: Pki
) -> None:
    httpd.config.add("MDActivation live", "MDRenewMode manual", "MDPrivateKeys secp256r1").managed(NAME)
    httpd.start()
    assert httpd.get(f"https://{NAME}/").status == 503

    httpd.log.expects("MD0085")
    with served_in_time(httpd, "a2md drive"):
        done = A2md(sandbox, pebble).with_options("-t", "accepted")("drive", "-f", NAME)
        assert done.code == 0, done
    assert httpd.served(NAME, ca=pebble.root).verified
    assert httpd.get(f"https://{NAME}/", ca=pebble.root).status == 200
    # It can be read and replaced by the server's user.
    tree = sandbox.tree()
    assert tree[f"live/{NAME}"] == Access(0o755, "www-data")
    assert {tree["live/.generation"].mode, tree[f"live/{NAME}/live.json"].mode} == {0o644}

    ca = pki.ca("by hand")
    leaf = ca.leaf(NAME, not_before=datetime.now(timezone.utc))
    steps = put(sandbox, leaf)
    before = httpd.served(NAME).leaf
    next(steps)
    httpd.log.expects("MD0041")
    httpd.wait_log("MD0041")
    assert httpd.served(NAME).leaf == before
    with served_in_time(httpd, "both halves"):
        next(steps, None)
    assert httpd.served(NAME).leaf.serial == leaf.certificate.serial

    # Another store with the same secret.
    second = sandbox.save_store()
    ran = a2md("-d", second, "-a", pebble.directory, "-C", pebble.trust, "-t", "accepted", "drive", "-f", NAME)
    assert ran.returncode == 0, ran
    with served_in_time(httpd, "a copy in live/"):
        rename_to(sandbox.store / "live" / NAME / "live.json", second / "live" / NAME / "live.json", age=3600)
    assert httpd.served(NAME, ca=pebble.root).verified


def test_changes_in_the_store_are_told_by_the_kernel_and_those_in_domains_to_the_parent_only(httpd: Httpd, sandbox: Sandbox) -> None:
    names = [f"n{number}.example.org" for number in range(5)]
    # A child that ends is replaced.
    httpd.config.add("MDActivation live", "MDInitialDelay 1h")
    httpd.config.add(f"MinSpare{'Servers 4' if httpd.config.mpm == 'prefork' else 'Threads 16'}")
    for name in names:
        httpd.config.managed(name)
    for start in (httpd.start, httpd.graceful, httpd.graceful):
        start()
        assert httpd.parent
        parent = httpd.parent.pid
        # One for the directory and one for each domain in it; none for sets in live/, where there are none.
        httpd.wait(lambda: watches(parent) == [1, 1 + len(names)], what="the parent's watches")
        assert [watches(proc.pid) for proc in httpd.children()] == [[1]] * len(httpd.children())

    # Children that come later inherit the watches of live/ only.
    former = {proc.pid for proc in httpd.children()}
    httpd.children()[0].signal(signal.SIGKILL)
    httpd.wait(lambda: {proc.pid for proc in httpd.children()} - former, what="another child")
    httpd.wait(lambda: all(watches(proc.pid) == [1] for proc in httpd.children()), what="watches of each child")

    # A set that comes into live/ is watched from then on.
    (sandbox.store / "live" / names[0]).mkdir()
    httpd.wait(lambda: all(watches(proc.pid) == [2] for proc in httpd.children()), what="the watch of a new set")
