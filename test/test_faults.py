"""Faults around a running server: disks, owners, damaged files, a CA that forgets, clocks."""

from __future__ import annotations

import os
import pwd
import signal
from datetime import timedelta

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import USER, Sandbox
from harness.world import World

NAME = "a.example.org"
ALWAYS_DUE = "MDRenewWindow 100d"
NO_START = "Configuration Failed"
"""Message of httpd itself when a module stops the start."""
FULL = "No space left on device"


def _obtained(httpd: Httpd) -> Httpd:
    httpd.config.managed(NAME)
    return httpd.start().obtain(NAME)


def _lines(httpd: Httpd, *parts: str) -> list[str]:
    return [line.text for line in httpd.log.lines if line.is_complaint and all(part in line.text for part in parts)]


# A full disk


def test_a_renewal_on_a_full_disk_says_so_and_goes_on_when_there_is_room(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox
) -> None:
    gate, volume = world.gate(pebble), world.volume()
    httpd.config.add(f"MDCertificateAuthority {gate.directory}")
    old = _obtained(httpd).served(NAME).leaf
    finalize = gate.hold("/finalize-order/")
    httpd.config.add(ALWAYS_DUE)
    httpd.graceful().wait(lambda: finalize.held, what="the end of a renewal")
    httpd.log.expects(FULL)
    volume.fill()
    finalize.release()
    httpd.wait_log("AH10057")
    assert _lines(httpd, f"AH10056: processing {NAME}:", FULL, str(sandbox.staging(NAME)))
    assert httpd.served(NAME, ca=pebble.root).leaf == old
    volume.free()
    httpd.obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).leaf != old
    assert pebble.new_accounts == 1


def test_an_activation_on_a_full_disk_says_so_and_is_done_by_the_next_start(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox
) -> None:
    volume = world.volume()
    old = _obtained(httpd).served(NAME).leaf
    httpd.config.add(ALWAYS_DUE)
    httpd.graceful().wait_staged(NAME)
    orders = pebble.new_orders
    httpd.log.expects(FULL)
    volume.fill()
    httpd.graceful()
    assert httpd.served(NAME, ca=pebble.root).leaf == old
    assert _lines(httpd, "AH10069", FULL, str(sandbox.tmp()))
    httpd.stop()
    httpd.start()
    assert httpd.served(NAME, ca=pebble.root).leaf == old
    assert pebble.new_orders == orders

    volume.free()
    httpd.config.add("MDRenewWindow 33%")
    httpd.graceful()
    assert httpd.served(NAME, ca=pebble.root).leaf != old
    assert pebble.new_orders == orders
    assert not list(sandbox.tmp().glob("*"))


def test_a_start_on_a_full_disk_names_the_file(httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox) -> None:
    volume = world.volume()
    old = _obtained(httpd).served(NAME).leaf
    httpd.stop()
    volume.fill()
    # Nothing is to be written.
    httpd.start()
    assert httpd.served(NAME, ca=pebble.root).leaf == old
    httpd.stop()

    httpd.config.managed("b.example.org")
    # mod_ssl has no certificate then.
    httpd.log.expects(NO_START, FULL, "AH02572", "SSL Library Error", "AH02312")
    said = httpd.fails_to_start()
    assert FULL in said
    assert str(sandbox.domains("b.example.org")) in said
    volume.free()
    httpd.start().obtain("b.example.org")
    assert httpd.served(NAME, ca=pebble.root).leaf == old


# Stores that cannot be written


def test_a_read_only_store_is_said_and_the_certificates_serve_on(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox
) -> None:
    # What the CA suggests for the new certificate would come into the store at any time.
    httpd.config.add("MDRenewViaARI off")
    volume = world.volume()
    old = _obtained(httpd).served(NAME).leaf
    before, reason = sandbox.tree(), "Read-only file system"
    httpd.log.expects(reason, NO_START)
    volume.read_only()
    httpd.config.add(ALWAYS_DUE)
    httpd.graceful()
    httpd.wait(lambda: _lines(httpd, reason, str(sandbox.store)), what="the complaint")
    assert httpd.served(NAME, ca=pebble.root).leaf == old
    assert httpd.get(f"https://{NAME}/").status == 200
    httpd.stop()

    said = httpd.fails_to_start()
    assert reason in said
    assert str(sandbox.store) in said
    assert sandbox.tree() == before
    volume.writable()
    httpd.start().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).leaf != old


def _chown(path: object, name: str) -> None:
    user = pwd.getpwnam(name)
    os.chown(str(path), user.pw_uid, user.pw_gid)


def test_a_store_of_somebody_else_is_used_all_the_same(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    # The CA's suggestion, which is asked for after each activation, would be the content of a directory in staging: that stays somebody's.
    httpd.config.add("MDRenewViaARI off")
    _obtained(httpd)
    httpd.stop()
    for path in (sandbox.store, *sandbox.store.rglob("*")):
        _chown(path, "nobody")
    httpd.config.add(ALWAYS_DUE)
    httpd.log.expects("MD0101")
    httpd.start().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    assert pebble.new_accounts == 1


@pytest.mark.parametrize("group", ["staging", "challenges"])
def test_a_directory_that_the_worker_cannot_write_is_named_and_put_right_by_a_restart(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, group: str
) -> None:
    httpd.config.add("MDRenewMode manual")
    httpd.config.managed(NAME)
    httpd.start()
    folder = sandbox.store / group
    httpd.config.add("MDRenewMode auto")
    httpd.log.expects("Permission denied")
    # The renewal starts a second after the children do.
    _chown(folder, "root")
    httpd.graceful()
    _chown(folder, "root")
    folder.chmod(0o755)
    httpd.wait(lambda: _lines(httpd, "Permission denied", str(folder)), what="the complaint")
    assert httpd.get(f"http://{NAME}/").status == 200
    _chown(folder, USER)
    httpd.graceful().obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified


# A CA without memory, and with a bad one


@pytest.mark.parametrize("path", ["/order-plz", "/finalize-order/", "/certZ/"])
@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
def test_a_ca_that_forgets_everything_in_the_middle_of_a_renewal(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox, path: str
) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}")
    old = _obtained(httpd).served(NAME).leaf
    hold = gate.hold(path)
    httpd.config.add(ALWAYS_DUE)
    httpd.graceful().wait(lambda: hold.held, what=path)
    # What it says about itself, and of the run that lost its order.
    httpd.log.expects("AH10056", "is given up", optional=True)
    pebble.restart()
    hold.release()
    httpd.wait_staged(NAME)
    assert httpd.served(NAME).leaf == old
    assert pebble.new_accounts == 2
    httpd.config.add("MDRenewWindow 33%")
    httpd.graceful()
    assert httpd.served(NAME, ca=pebble.root).verified
    assert sandbox.job(NAME, "domains")["errors"] == 0


def test_a_ca_that_has_forgotten_its_accounts_gets_one_new_one_for_all(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    names = [f"{letter}.example.org" for letter in "abcde"]
    for name in names:
        httpd.config.managed(name)
    httpd.start().obtain(*names)
    pebble.restart()
    httpd.log.expects(" in place of https:")
    httpd.config.add(ALWAYS_DUE)
    httpd.graceful().wait_staged(*names)
    httpd.config.add("MDRenewWindow 33%")
    httpd.graceful()
    assert all(httpd.served(name, ca=pebble.root).verified for name in names)
    assert pebble.new_accounts == 2
    assert len(sandbox.account_ids()) == 2


@pytest.mark.pebble(nonce_reject=50)
def test_every_second_nonce_refused_is_no_error(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    names = [f"n{number}.example.org" for number in range(15)]
    for name in names:
        httpd.config.managed(name)
    httpd.start().wait_staged(*names)
    assert [sandbox.job(name)["errors"] for name in names] == [0] * len(names)
    httpd.graceful()
    assert all(httpd.served(name, ca=pebble.root).verified for name in names)
    assert pebble.new_accounts == 1


# Damaged files in staging

DAMAGES = {"cut off": lambda data: data[: len(data) // 2], "garbage": lambda data: b"\x00\xffnot this" * 40}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
def test_files_of_a_renewal_that_are_damaged_while_it_runs(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox, damage: str
) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", ALWAYS_DUE)
    old = _obtained(httpd).served(NAME).leaf
    httpd.wait_staged(NAME)
    # The run that finds its key gone.
    httpd.log.expects("it is ignored and made anew", "is not a usable private key")
    httpd.log.expects("AH10056", optional=True)
    files = ["job.json", "order.json", "md.json", "privkey.pem"]
    for file in files:
        # Nothing but an account is left of the last one.
        with sandbox.claim(NAME) as staging:
            for each in staging.iterdir():
                each.unlink()
            hold = gate.hold("/certZ/")
        httpd.wait(lambda hold=hold: hold.held, what=f"a renewal to damage {file} of")
        path = sandbox.staging(NAME) / file
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
        (renewer,) = httpd.renewing()
        # It ends as for a restart: a child that is killed is replaced late by mod_watchdog.
        renewer.signal(signal.SIGTERM)
        hold.release()
        httpd.wait_staged(NAME)
        assert httpd.served(NAME, ca=pebble.root).leaf == old
    httpd.config.add("MDRenewWindow 33%")
    httpd.graceful()
    assert httpd.served(NAME, ca=pebble.root).leaf != old
    assert pebble.new_accounts == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_finished_set_that_is_damaged_while_it_waits_is_obtained_again(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, damage: str
) -> None:
    httpd.config.add(ALWAYS_DUE)
    old = _obtained(httpd).served(NAME).leaf
    httpd.log.expects("is not a usable private key")
    for file in ("privkey.pem", "pubcert.pem"):
        httpd.wait_staged(NAME)
        orders, path = pebble.new_orders, sandbox.staging(NAME) / file
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
        httpd.wait(lambda orders=orders: pebble.new_orders > orders, what=f"a renewal after the damage to {file}")
    httpd.wait_staged(NAME)
    httpd.config.add("MDRenewWindow 33%")
    httpd.graceful()
    assert httpd.served(NAME, ca=pebble.root).leaf != old


# Clocks


def _looks(httpd: Httpd, times: int) -> None:
    httpd.wait_log("AH10107", times=httpd.log.count("AH10107") + times)


def test_a_clock_that_jumps_forward_makes_due_once(httpd: Httpd, pebble: Pebble, world: World) -> None:
    clock = world.clock(httpd)
    old = _obtained(httpd).served(NAME).leaf
    orders = pebble.new_orders
    clock.shift(days=70)
    httpd.wait_staged(NAME)
    _looks(httpd, 3)
    assert pebble.new_orders == orders + 1
    assert httpd.served(NAME).leaf == old
    assert httpd.get(f"https://{NAME}/").status == 200


@pytest.mark.parametrize("back", [timedelta(days=3), timedelta(days=400)], ids=str)
def test_a_clock_that_jumps_back_is_no_reason_to_renew(
    httpd: Httpd, pebble: Pebble, world: World, back: timedelta
) -> None:
    clock = world.clock(httpd)
    old = _obtained(httpd).served(NAME).leaf
    orders = pebble.new_orders
    clock.shift(seconds=-back.total_seconds())
    _looks(httpd, 3)
    httpd.graceful()
    _looks(httpd, 2)
    assert httpd.served(NAME).leaf == old
    assert httpd.get(f"https://{NAME}/").status == 200
    assert pebble.new_orders == orders


def test_a_clock_that_was_wrong_at_boot_does_not_delay_what_is_due_now(httpd: Httpd, pebble: Pebble, world: World) -> None:
    clock = world.clock(httpd).shift(days=3650)
    httpd.config.managed(NAME)
    # The CA's own certificate has long expired then.
    httpd.log.expects("AH10056")
    httpd.start().wait_log("AH10057")
    assert httpd.get(f"https://{NAME}/").status == 503
    clock.shift(days=0)
    httpd.obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified


def test_a_clock_that_is_put_right_during_a_renewal_does_not_stop_it(httpd: Httpd, pebble: Pebble, world: World) -> None:
    gate = world.gate(pebble)
    clock = world.clock(httpd).shift(days=30)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}").managed(NAME)
    hold = gate.hold("/chalZ/", answer=True)
    httpd.start().wait(lambda: hold.held, what="a challenge")
    clock.shift(days=0)
    hold.release()
    httpd.obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
