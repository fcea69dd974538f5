"""A crash at any rename and any flush to disk: what was served is served afterwards, and the work goes on."""

from __future__ import annotations

import os
from itertools import count

import pytest

from harness.crash import Crash, Fault
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

NAME = "a.example.org"
KINDS = ["rename", "fsync"]
STRIDE = int(os.environ.get("CRASH_STRIDE", "5"))
"""A crash of a renewal takes its time: only every so many calls. `CRASH_STRIDE=1` is every one, for 7 minutes."""


def _restarts(httpd: Httpd) -> Httpd:
    # The pid file and what is in the System V tables of a killed server.
    httpd.log.expects("AH00098", optional=True)
    return httpd.start()


def _no_rest(sandbox: Sandbox) -> bool:
    return not list(sandbox.tmp().glob("*"))


@pytest.mark.pebble(nonce_reject=0)
@pytest.mark.parametrize("kind", [*KINDS, "link"])
def test_a_crash_of_the_first_start(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World, kind: str) -> None:
    httpd.config.managed(NAME).add("MDRenewMode manual")
    httpd.log.expects("AH00098", optional=True)
    crash = world.crash(httpd)
    for nth in count(1):
        if sandbox.store.exists():
            sandbox.remove_store()
        before = crash.hits
        if crash.start(Fault(kind, nth)):
            break
        assert crash.hits == before + 1
        _restarts(httpd)
        assert httpd.get(f"https://{NAME}/").status == 503
        assert _no_rest(sandbox)
        httpd.stop()
    # There was something to crash in.
    assert nth > {"rename": 1, "fsync": 8, "link": 1}[kind]
    httpd.stop()
    httpd.config.add("MDRenewMode auto")
    httpd.start().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified


@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_of_the_start_that_activates(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World, kind: str
) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    old = httpd.served(NAME).leaf
    httpd.config.add("MDRenewWindow 100d")
    httpd.graceful().wait_staged(NAME)
    httpd.stop()
    staged, archived = sandbox.save_store(), len(list(sandbox.archive().glob("*")))
    httpd.config.add("MDRenewMode manual")
    httpd.log.expects("AH00098", "activation was interrupted", optional=True)

    crash, served = world.crash(httpd), set()
    for nth in count(1):
        sandbox.restore_store(staged)
        if crash.start(Fault(kind, nth)):
            break
        _restarts(httpd)
        leaf = httpd.served(NAME, ca=pebble.root)
        assert leaf.verified
        served.add(leaf.leaf)
        # What is not activated now waits for the next start.
        if leaf.leaf == old:
            httpd.graceful()
            assert httpd.served(NAME).leaf != old
        assert _no_rest(sandbox)
        # A set that was not yet taken from staging when the crash came is activated once more.
        assert len(list(sandbox.archive().glob(f"{NAME}.*"))) - archived in (1, 2)
        assert len(sandbox.account_ids()) == 1
        httpd.stop()
    assert nth > 5
    assert httpd.served(NAME).leaf != old
    assert served - {old}
    assert pebble.new_accounts == 1


@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_of_a_renewal(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World, kind: str) -> None:
    """Now and then the child dies alone, else the whole server."""
    httpd.config.managed(NAME).add("MDRenewWorkers 1", "MDRenewWindow 100d")
    httpd.start().wait_staged(NAME)
    # What is staged serves from now on; the account waits there with it.
    httpd.graceful()
    old = httpd.served(NAME, ca=pebble.root).leaf
    for turn, nth in enumerate(count(1, STRIDE)):
        crash, accounts, serving = world.crash(httpd), pebble.new_accounts, httpd.served(NAME).leaf
        _begin_anew(httpd, sandbox, crash, Fault(kind, nth))
        httpd.wait(lambda crash=crash: crash.hits or _finished(sandbox), what="the crash, or the end")
        if not crash.hits:
            break
        whole = turn % 4 != 1
        if whole:
            httpd.kill()
            _restarts(httpd)
        # A start activates a complete set.
        httpd.wait(lambda: _finished(sandbox), what="the renewal")
        assert httpd.served(NAME, ca=pebble.root).verified
        assert whole or httpd.served(NAME).leaf == serving
        assert pebble.new_accounts == accounts + 1
        assert sandbox.job(NAME)["errors"] == 0
        crash.stop()
    assert nth > 2 * STRIDE
    httpd.config.add("MDRenewWindow 33%")
    httpd.graceful()
    assert httpd.served(NAME, ca=pebble.root).leaf != old
    assert _no_rest(sandbox)


def _finished(sandbox: Sandbox) -> bool:
    return bool(sandbox.job(NAME).get("finished"))


def _begin_anew(httpd: Httpd, sandbox: Sandbox, crash: Crash, fault: Fault) -> None:
    """Let the children start a renewal with the fault in them, from nothing: not even an account."""
    with sandbox.claim(NAME) as staging:
        for folder in (staging, *staging.parent.glob("ACME-*"), *sandbox.accounts().glob("*")):
            for file in folder.iterdir():
                file.unlink()
        # Those that run know the account by heart.
        httpd.graceful().wait(lambda: len(httpd.children()) == 2, what="all children")
        crash.attach(fault)
