"""Several servers on one store: they start together, work together, and nobody else can get between them."""

from __future__ import annotations

import fcntl
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from harness.a2md import A2md
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.wait import wait
from harness.world import World, beside

pytestmark = pytest.mark.module("ours")

NAMES = [f"{letter}.example.org" for letter in "abcd"]
NAME = NAMES[0]
LOCKS = "MDStoreLocks on"


def managed(httpd: Httpd, *lines: str, names: list[str] = NAMES) -> Httpd:
    httpd.config.add(*lines)
    for name in names:
        httpd.config.managed(name)
    return httpd


def alone(httpd: Httpd, only: str, *lines: str) -> Httpd:
    """Configures a server that renews one of the domains, and knows the others."""
    httpd.config.add(LOCKS, *lines)
    for name in NAMES:
        httpd.config.md_set(name, f"MDRenewMode {'auto' if name == only else 'manual'}").http(name).https(name)
    return httpd


def serials(httpd: Httpd) -> list[int]:
    return [httpd.served(name).leaf.serial for name in NAMES]


def together(*servers: Httpd) -> None:
    """Start them in the same second."""
    with ThreadPoolExecutor() as threads:
        for start in [threads.submit(httpd.start) for httpd in servers]:
            start.result()


def next_look(httpd: Httpd) -> None:
    """Wait until the server has looked for what is due, twice: the first look may have begun before this."""
    httpd.wait_log("AH10107", times=httpd.log.count("AH10107") + 2)


# A start


@pytest.mark.parametrize("locks", ["on", "off"])
def test_servers_that_start_on_a_new_store_in_the_same_second_serve_the_same_placeholders(lone_httpd: Httpd, locks: str) -> None:
    names = [f"n{number}.example.org" for number in range(100)]
    lines = ("MDPrivateKeys secp256r1", "MDRenewMode manual", "MDCertificateAuthority https://localhost:1/dir", f"MDStoreLocks {locks}")
    first = managed(lone_httpd, *lines, names=names)
    with beside(first) as second:
        managed(second, *lines, names=names)
        for httpd in (first, second):
            # That they share a store is said where it is no intention.
            httpd.log.expects("MD0008", optional=True)
        for _ in range(3):
            together(first, second)
            for name in (names[0], names[50], names[99]):
                assert first.served(name).leaf == second.served(name).leaf
            assert len(first.sandbox.account_ids()) == 0
            assert {path.stat().st_mode & 0o777 for path in first.sandbox.domains().glob("*/fallback.*.pem")} == {0o600}
            first.stop()
            second.stop()
            first.sandbox.remove_store()


def test_what_is_staged_is_activated_by_one_of_two_that_start_together(httpd: Httpd, pebble: Pebble) -> None:
    managed(httpd, LOCKS).start().wait_staged(*NAMES)
    with beside(httpd, pebble) as second:
        managed(second, LOCKS).start()
        httpd.stop()
        second.stop()
        together(httpd, second)
        assert all(one.served(name, ca=pebble.root).verified for one in (httpd, second) for name in NAMES)
        assert len(list(httpd.sandbox.archive().iterdir())) == len(NAMES)
        next_look(second)
        next_look(httpd)
    assert (pebble.new_orders, pebble.new_accounts) == (4, 1)


# Renewals


def test_what_another_server_has_renewed_and_uses_is_not_ordered_again(httpd: Httpd, pebble: Pebble) -> None:
    # The store is made first; both servers run before anything can be staged, which the later start would activate.
    managed(httpd, "MDRenewMode manual").start().stop()
    httpd.config.clear()
    with beside(httpd, pebble) as second:
        with ExitStack() as claims:
            for name in NAMES:
                claims.enter_context(httpd.sandbox.claim(name))
            for server in (httpd, second):
                managed(server, LOCKS).start()
        httpd.wait_staged(*NAMES)
        second.wait_staged(*NAMES)
        assert pebble.new_orders == 4
        for _ in range(2):
            httpd.graceful()
            second.wait_log("MD0058", times=4)
            next_look(second)
            next_look(httpd)
            assert pebble.new_orders == 4
        renewal = second.md_status(NAME)["renewal"]
        assert renewal["finished"] and "a2md, and can be used" in renewal["last"]["detail"], renewal
        assert renewal["last"]["detail"].endswith("A graceful server restart now is all that is needed.")
        assert renewal["cert"]["rsa"]["serial"] == httpd.served(NAME).leaf.serial
        assert second.get(f"https://{NAME}/").status == 503
        second.graceful()
        assert serials(second) == serials(httpd)
        assert "renewal" not in second.md_status(NAME)
        next_look(second)
        assert (pebble.new_orders, second.log.count("MD0058")) == (4, 4)


def test_a_server_that_restarts_itself_does_so_for_what_another_has_activated(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    leaf = httpd.start().obtain(NAME).served(NAME).leaf
    httpd.stop()
    groups = [sandbox.domains(), sandbox.active()]
    elsewhere = sandbox.writable("elsewhere")
    for group in groups:
        shutil.move(group / NAME, elsewhere / group.name)
    httpd.config.add("MDActivation graceful")
    with sandbox.claim(NAME):
        httpd.start()
        assert httpd.get(f"https://{NAME}/").status == 503
        shutil.rmtree(sandbox.domains(NAME))
        for group in groups:
            shutil.move(elsewhere / group.name, group / NAME)
    httpd.wait(lambda: httpd.served(NAME).leaf == leaf, what="a restart")
    assert pebble.new_orders == 1


def test_what_a2md_has_renewed_beside_a_server_is_not_ordered_again(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    httpd.start()
    cli = A2md(sandbox, pebble)
    done = cli("drive", NAME)
    if "another process" in done.err:
        # The server was first; then a2md activates what that has staged.
        httpd.wait_staged(NAME)
        done = cli("drive", NAME)
    assert done.code == 0, done
    httpd.wait_log("MD0058")
    next_look(httpd)
    assert pebble.new_orders == 1
    assert httpd.graceful().served(NAME, ca=pebble.root).verified


def test_servers_on_one_store_register_one_account(httpd: Httpd, pebble: Pebble, world: World) -> None:
    gate = world.gate(pebble)
    hold = gate.hold("/sign-me-up", answer=True, count=3)
    ca = f"MDCertificateAuthority {gate.directory}"
    alone(httpd, NAMES[0], ca).start().wait(lambda: hold.held, what="the first at the registration")
    with beside(httpd, pebble) as second, beside(httpd, pebble, "third") as third:
        for server, name in ((second, NAMES[1]), (third, NAMES[2])):
            alone(server, name, ca).start().wait_log("AH10052")
            next_look(server)
        assert hold.held == 1
        hold.release()
        second.wait_staged(NAMES[1])
        third.wait_staged(NAMES[2])
        httpd.wait_staged(NAME)
        assert (pebble.new_accounts, pebble.new_orders) == (1, 3)


# Others on the machine


def test_nobody_can_open_what_is_locked(httpd: Httpd, pebble: Pebble, world: World) -> None:
    sandbox, gate = httpd.sandbox, world.gate(pebble)
    hold = gate.hold("/sign-me-up", count=1)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}").managed(NAME)
    httpd.start().wait(lambda: hold.held, what="a registration")
    locked = {path.name for path in sandbox.locked()}
    # The mark, the claims on the domain and on the account.
    assert {"server.lock", NAME} < locked and any(name.startswith("ACME-") for name in locked), locked
    seen = sandbox.locked()
    hold.release()
    httpd.obtain(NAME).stop()

    httpd.config.add("MDStoreLocks 1h")
    with ThreadPoolExecutor() as threads:
        with (sandbox.store / "store.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            start = threads.submit(httpd.start)
            wait(lambda: "change.lock" in {path.name for path in sandbox.locked()}, what="a start at the lock")
            seen |= sandbox.locked()
            can_open = sandbox.open_to("nobody")
        start.result()
    # What is gone by now was in a directory that is there.
    seen |= {path.parent for path in seen if path.parent != sandbox.store}
    assert {path.name for path in seen} >= {"store.lock", "change.lock", "locks"}
    assert not seen & (can_open | sandbox.open_to("nobody"))
    assert sandbox.staging() in can_open, "it can look"
    assert str(sandbox.tree()["locks"]) == "0700 www-data"


def test_a_claim_of_before_does_not_outlive_its_server(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    sandbox.locks("left.example.org").touch(mode=0o600)
    httpd.graceful()
    assert not sandbox.locks("left.example.org").exists()
    assert sandbox.locks().is_dir()
