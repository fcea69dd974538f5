"""The store over the years: domains with other names, files that people delete or copy, other servers, old releases."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness import process
from harness.httpd import Httpd
from harness.oracle import Oracle
from harness.pki import Leaf
from harness.sandbox import Sandbox
from harness.wait import wait
from harness.world import World

NAME = "a.example.org"
NOBODY = ("MDCertificateAuthority https://localhost:1/dir", "MDCertificateAgreement accepted")
"""A CA that is not asked, or does not answer."""


def _names(short: str) -> list[str]:
    """`a b` -> a.example.org, b.example.org"""
    return [f"{name}.example.org" for name in short.split()]


def _put(sandbox: Sandbox, md: str, leaf: Leaf, group: str = "domains", suffix: str = "") -> None:
    """A certificate and its key in the store."""
    folder = sandbox.store / group / md
    shutil.copy(leaf.chain_file, folder / f"pubcert{suffix}.pem")
    shutil.copy(leaf.key_file, folder / f"privkey{suffix}.pem")
    (folder / f"privkey{suffix}.pem").chmod(0o600)


def _configure(httpd: Httpd, domains: list[str]) -> Httpd:
    """Manual domains, given by short names, of which nothing is renewed."""
    httpd.config.clear().add(*NOBODY, "MDRenewMode manual")
    for short in domains:
        httpd.config.managed(*_names(short))
    return httpd


def _with_certificates(world: World, domains: list[str]) -> Httpd:
    """A stopped server with a certificate for each of its domains."""
    httpd, ca = _configure(world.httpd(), domains).start(), world.pki.ca("CA")
    httpd.stop()
    for short in domains:
        names = _names(short)
        _put(world.sandbox, names[0], ca.leaf(*names, key="rsa2048"))
    return httpd


def _served_names(httpd: Httpd, domains: list[str]) -> dict[str, list[str]]:
    """For each domain the names in the certificate that it serves; empty for a placeholder."""
    leaves = {names[0]: httpd.served(names[0]).leaf for names in map(_names, domains)}
    return {name: leaf.names if leaf.issuer == "CA" else [] for name, leaf in leaves.items()}


# Domains under other names


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        pytest.param(["a b"], ["b a"], {"b": "a b"}, id="reordered"),
        pytest.param(["a b"], ["new a b"], {"new": "a b"}, id="a name in front"),
        pytest.param(["a b"], ["b"], {"b": "a b"}, id="the first name goes"),
        pytest.param(["a x", "b x2 y"], ["x2 y"], {"x2": "b x2 y"}, id="most names"),
        pytest.param(["a x y", "b z"], ["z y x"], {"z": "a x y"}, id="two candidates"),
        pytest.param(["a b"], ["c d"], {"c": ""}, id="none"),
        pytest.param(["a b", "c d"], ["c b"], {"c": "c d"}, id="the target is there"),
        pytest.param(["a b c"], ["b", "c"], {"b": "a b c", "c": ""}, id="split"),
    ],
)
def test_a_domain_keeps_its_certificate_under_a_new_first_name(
    before: list[str], after: list[str], taken: dict[str, str]
) -> None:
    def case(world: World) -> Any:
        httpd = _with_certificates(world, before)
        # A certificate that was taken over need not have the new name.
        httpd.log.expects("AH01909", optional=True)
        _configure(httpd, after).start()
        served = _served_names(httpd, after)
        items = sorted(path.name for path in world.sandbox.domains().iterdir())
        return {"served": served, "items": items, "md": [world.sandbox.md_json(item) for item in items]}

    found = Oracle().both(case, {"md.*.ca.url": "ours says from the start which of its CAs a domain uses"})
    assert found["served"] == {_names(name)[0]: sorted(_names(names)) for name, names in taken.items()}


# Several processes


@contextlib.contextmanager
def _store_locked(sandbox: Sandbox) -> Iterator[None]:
    """While this lasts, another process has the lock of the store, as the C module would have it."""
    with sandbox.store.joinpath("store.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize("value", ["200ms", "1"])
def test_a_start_does_without_the_lock_of_the_store_if_it_takes_too_long(value: str) -> None:
    def case(world: World) -> Any:
        httpd = _with_certificates(world, ["a b"])
        _configure(httpd, ["b a"]).config.add(f"MDStoreLocks {value}")
        httpd.log.expects("AH10398")
        httpd.log.expects("AH10085", optional=True)
        with _store_locked(world.sandbox):
            httpd.start()
            domains = sorted(path.name for path in world.sandbox.domains().iterdir())
            return domains, httpd.get("http://b.example.org/").status

    domains, status = Oracle().both(case)
    assert (domains, status) == (_names("a b"), 200)


def test_a_start_waits_for_the_lock_of_the_store_and_leaves_its_file(world: World, sandbox: Sandbox) -> None:
    httpd = _with_certificates(world, ["a b"])
    _configure(httpd, ["a b"]).config.add("MDStoreLocks on")
    httpd.start()
    lock = sandbox.store / "store.lock"
    assert str(sandbox.tree()["store.lock"]) == "0640 root"
    assert not _is_open(lock)
    httpd.stop()

    _configure(httpd, ["b a"]).config.add("MDStoreLocks 1h")
    with ThreadPoolExecutor() as threads:
        with _store_locked(sandbox):
            start = threads.submit(httpd.start)
            wait(lambda: _is_open(lock), what="a start at the lock")
            assert sandbox.domains(NAME).exists()
        start.result()
    assert _served_names(httpd, ["b a"]) == {"b.example.org": _names("a b")}


def _is_open(file: Path) -> bool:
    """Whether a process that a test has started has this file open."""
    for proc in process.descendants():
        with contextlib.suppress(OSError):
            if any(handle.resolve() == file for handle in Path(f"/proc/{proc.pid}/fd").iterdir()):
                return True
    return False


@contextlib.contextmanager
def _second_server(first: Httpd, *lines: str) -> Iterator[Httpd]:
    """A server of another world that uses the store of the first."""
    world = World("second")
    try:
        httpd = _configure(world.httpd(), ["a"])
        httpd.config.add(f"MDStoreDir {first.sandbox.store}", *lines)
        yield httpd
        world.finish()
    except BaseException:
        world.keep = True
        raise
    finally:
        world.close()
        if not world.keep:
            world.remove()


def test_a_second_server_on_the_same_store_is_reported(lone_httpd: Httpd) -> None:
    first = _configure(lone_httpd, ["a"]).start()
    with _second_server(first) as second:
        second.log.expects("MD0008")
        second.start()
        assert second.get(f"http://{NAME}/").status == 200
        assert [str(first.sandbox.store) in line.text for line in second.log.find("MD0008")] == [True]
        # Its own restarts do not alarm the first, and a second that is alone at last is fine.
        first.graceful().graceful().restart().stop()
        second.graceful().graceful()
        assert second.log.count("MD0008") == 1
        first.log.expects("MD0008")
        first.start().stop()
    first.start().graceful()
    assert first.log.count("MD0008") == 1


def test_servers_that_take_turns_at_a_store_may_share_it(lone_httpd: Httpd) -> None:
    first = _configure(lone_httpd, ["a"])
    first.config.add("MDStoreLocks on")
    first.start()
    with _second_server(first, "MDStoreLocks on") as second:
        second.start().graceful()


def test_a_server_that_was_killed_or_moved_to_another_store_leaves_its_own_to_others(lone_httpd: Httpd) -> None:
    first = _configure(lone_httpd, ["a"]).start()
    first.kill()
    # The file of the process id is left.
    first.log.expects("AH00098", optional=True)
    with _second_server(first) as second:
        second.start().stop()
        first.start()
        first.config.add(f"MDStoreDir {first.sandbox.root}/other")
        first.graceful()
        second.start()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_commands_and_daemons_that_a_server_has_started_do_not_hold_its_store(lone_httpd: Httpd, end: str) -> None:
    # A command that outlives the server: a piped log in its own session.
    first = _configure(lone_httpd, ["a"])
    first.config.add('CustomLog "|/usr/bin/setsid /bin/sleep 1000" common')
    first.start()
    with _second_server(first) as second:
        getattr(first, end)()
        second.start()
    first.log.expects("AH00098", optional=True)
