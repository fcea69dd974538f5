"""The store over the years: domains with other names, files that people delete or copy, other servers, old releases."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness import native, process
from harness.certificate import Certificate
from harness.httpd import Httpd
from harness.module import Module
from harness.oracle import Oracle
from harness.pebble import Pebble
from harness.pki import Leaf
from harness.sandbox import Access, Sandbox
from harness.wait import wait
from harness.world import World, beside

NAME = "a.example.org"
FIXTURES = Path(__file__).parent / "fixtures"
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
    with beside(first) as httpd:
        _configure(httpd, ["a"]).config.add(*lines)
        yield httpd


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


# Stores of old releases


def _migrated(world: World, version: str) -> Any:
    """The store of an old release after a start: all its files, and what is served."""
    store = world.sandbox.store
    # With modes of its own: those of a checkout are not known.
    shutil.copytree(FIXTURES / f"store-{version}", store, copy_function=shutil.copyfile)
    httpd = world.httpd()
    httpd.config.add("MDCertificateAuthority https://ca.example.org/directory", "MDRenewMode manual")
    httpd.config.managed("old.example.org", "www.old.example.org").managed("new.example.org")
    httpd.start()
    # Neither placeholders nor bookkeeping of an activation, nor what is only locked.
    files = (path for path in store.rglob("*") if path.is_file() and not path.name.startswith(("fallback", "job.json", "active.json")) and path.suffix != ".lock")
    found = {str(path.relative_to(store)): path for path in sorted(files)}
    live = httpd.served("old.example.org").chain
    return {
        "json": {name: json.loads(path.read_text()) for name, path in found.items() if path.suffix == ".json"},
        "pem": {name: hashlib.sha1(path.read_bytes()).hexdigest()[:12] for name, path in found.items() if path.suffix == ".pem"},
        "access": {name: str(Access.of(path)) for name, path in found.items()},
        "served": [cert.names or cert.common_name for cert in live],
        "new": httpd.get("https://new.example.org/").status,
    }


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_store_of_an_old_release_is_taken_over_as_by_the_c_module(version: str) -> None:
    # No certificate, so no CA yet.
    differences = {"1.0": {"json.domains/new.example.org/md.json.ca.url": "ours says from the start which of its CAs a domain uses"}}
    found = Oracle().both(lambda world: _migrated(world, version), differences.get(version))
    assert found["served"] == [["old.example.org", "www.old.example.org"], "Old Intermediate"]
    # A certificate that was staged in the files of version 1 is obtained again.
    assert found["new"] == (503 if version == "1.0" else 200)
    assert found["json"]["md_store.json"]["store"] == {"version": 3.0}
    assert "version" not in found["json"]["md_store.json"]
    assert {"domains/old.example.org/privkey.pem", "archive/old.example.org.1/pubcert.pem"} <= found["pem"].keys()


# What people do by hand

ALWAYS_DUE = "MDRenewWindow 100d"
GROUPS = ["accounts", "archive", "challenges", "domains", "ocsp", "staging", "tmp"]
WHEN = pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])


def _obtained(httpd: Httpd) -> Certificate:
    """The server has a certificate, and all groups have been used; gives the certificate."""
    httpd.config.managed(NAME)
    # The archive gets what was there before the first certificate.
    return httpd.start().obtain(NAME).served(NAME).leaf


def _by_hand(httpd: Httpd, running: bool, change: Callable[[], object]) -> None:
    """Changes the store of a stopped server, or of a running one that is then restarted gracefully."""
    if not running:
        httpd.stop()
    change()
    _ = httpd.graceful() if running else httpd.start()


def _renews(httpd: Httpd, pebble: Pebble) -> None:
    """The next renewal succeeds, and its certificate is served."""
    before = httpd.served(NAME).leaf
    httpd.config.add(ALWAYS_DUE)
    httpd.graceful().obtain(NAME).wait_staged(NAME)
    served = httpd.served(NAME, ca=pebble.root)
    assert served.verified
    assert served.leaf != before


@WHEN
@pytest.mark.parametrize("group", GROUPS)
def test_a_group_can_be_deleted(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, group: str, running: bool) -> None:
    leaf = _obtained(httpd)
    _by_hand(httpd, running, lambda: shutil.rmtree(sandbox.store / group, ignore_errors=True))
    if group == "domains":
        assert httpd.get(f"https://{NAME}/").status == 503
        httpd.obtain(NAME)
        assert httpd.get(f"https://{NAME}/").status == 200
    else:
        assert httpd.served(NAME, ca=pebble.root).leaf == leaf
    _renews(httpd, pebble)
    assert pebble.new_accounts == (2 if group == "accounts" else 1)
    assert len(sandbox.account_ids()) == 1


@WHEN
@pytest.mark.parametrize("file", ["md.json", "job.json", "privkey.pem", "pubcert.pem"])
def test_a_file_of_a_domain_can_be_deleted(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, file: str, running: bool) -> None:
    leaf = _obtained(httpd)
    if file == "privkey.pem":
        httpd.log.expects("AH10110")
    _by_hand(httpd, running, sandbox.domains(NAME).joinpath(file).unlink)
    if file in ("privkey.pem", "pubcert.pem"):
        assert httpd.get(f"https://{NAME}/").status == 503
        httpd.obtain(NAME)
    else:
        assert httpd.served(NAME).leaf == leaf
    assert httpd.get(f"https://{NAME}/").status == 200
    _renews(httpd, pebble)
    assert pebble.new_accounts == 1


@WHEN
@pytest.mark.parametrize("file", ["account.json", "account.pem"])
def test_a_file_of_an_account_can_be_deleted(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, file: str, running: bool) -> None:
    leaf = _obtained(httpd)
    _by_hand(httpd, running, next(sandbox.accounts().glob(f"*/{file}")).unlink)
    assert httpd.served(NAME).leaf == leaf
    _renews(httpd, pebble)
    assert pebble.new_accounts == 2


@WHEN
@pytest.mark.parametrize("file", ["md.json", "job.json", "privkey.pem", "pubcert.pem"])
def test_a_file_of_a_renewal_can_be_deleted(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, file: str, running: bool) -> None:
    httpd.config.managed(NAME)
    httpd.start().wait_staged(NAME)
    _by_hand(httpd, running, sandbox.staging(NAME).joinpath(file).unlink)
    # Without its report a set is whole.
    if file != "job.json":
        assert httpd.get(f"https://{NAME}/").status == 503
        httpd.obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    assert httpd.get(f"https://{NAME}/").status == 200
    assert pebble.new_accounts == 1


@WHEN
def test_the_file_of_the_ports_can_be_deleted(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, running: bool) -> None:
    httpd.config.add(f"MDPortMap http:{httpd.config.http_port} https:-")
    leaf = _obtained(httpd)
    ports = sandbox.store / "httpd.json"
    before = ports.read_bytes()
    _by_hand(httpd, running, ports.unlink)
    assert httpd.served(NAME).leaf == leaf
    assert ports.read_bytes() == before


@WHEN
def test_a_lost_secret_costs_accounts_and_renewals_but_no_certificate(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, running: bool
) -> None:
    leaf = _obtained(httpd)
    httpd.config.add(ALWAYS_DUE)
    httpd.graceful().wait_staged(NAME)
    httpd.log.expects("MD0009")
    httpd.log.expects("account.pem is not a usable private key", optional=True)
    _by_hand(httpd, running, sandbox.store.joinpath("md_store.json").unlink)
    assert httpd.served(NAME).leaf == leaf
    assert httpd.get(f"https://{NAME}/").status == 200
    httpd.obtain(NAME)
    assert httpd.served(NAME, ca=pebble.root).verified
    assert httpd.served(NAME).leaf != leaf
    _renews(httpd, pebble)
    assert pebble.new_accounts == len(sandbox.account_ids()) == 2
    assert httpd.log.count("MD0009") == 1
    assert httpd.log.count("account.pem is not a usable private key") <= 1


@WHEN
def test_an_archived_set_can_be_copied_back(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, running: bool) -> None:
    leaf = _obtained(httpd)
    _renews(httpd, pebble)
    httpd.config.add("MDRenewMode manual")
    httpd.graceful()
    sets = [path.parent for path in sandbox.archive().glob("*/pubcert.pem") if Certificate.chain(path)[0] == leaf]

    def copy_back() -> None:
        shutil.rmtree(sandbox.domains(NAME))
        shutil.copytree(sets[0], sandbox.domains(NAME))

    _by_hand(httpd, running, copy_back)
    assert httpd.served(NAME, ca=pebble.root).leaf == leaf
    assert httpd.get(f"https://{NAME}/").status == 200
    httpd.config.add("MDRenewMode auto")
    _renews(httpd, pebble)
    assert pebble.new_accounts == 1


@pytest.mark.module("ours")
def test_the_state_directory_is_where_the_store_is_by_default(lone_httpd: Httpd, sandbox: Sandbox) -> None:
    state = sandbox.root / "state"
    state.mkdir()
    library = native.library("state_dir.c", sandbox.root)
    lone_httpd.env |= {"LD_PRELOAD": str(library), "STATE_DIR": str(state)}
    lone_httpd.config.add("MDRenewMode manual").managed(NAME)
    lone_httpd.start()
    assert (state / "md/domains" / NAME / "md.json").exists()
    assert not sandbox.store.exists()
    # What is said goes before it, and is relative to ServerRoot.
    lone_httpd.config.add("MDStoreDir md")
    lone_httpd.restart()
    assert (sandbox.domains(NAME) / "md.json").exists()


@WHEN
def test_the_store_can_be_moved(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, running: bool) -> None:
    leaf = _obtained(httpd)
    place = sandbox.root / "elsewhere" / "certificates"
    place.parent.mkdir()
    httpd.config.add(f"MDStoreDir {place}")
    _by_hand(httpd, running, lambda: sandbox.store.rename(place))
    assert httpd.served(NAME, ca=pebble.root).leaf == leaf
    _renews(httpd, pebble)
    assert pebble.new_accounts == 1
    assert not sandbox.store.exists()


# What the store makes of a domain


def _rewrite(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(change((folder / file).read_bytes()))


def _keep(folder: Path) -> None:
    """No change."""


LONG_AGO = datetime.now(UTC) - timedelta(days=100)
SOON = datetime.now(UTC) + timedelta(days=10)
# Options of the certificate (`names` beside its own), what is done to the files then, and the state: 1 incomplete,
# 2 complete, 4 error.
STATES: dict[str, tuple[dict[str, Any], Callable[[Path], object], int]] = {
    "good": ({}, _keep, 2),
    "wildcard": ({"names": ["*.example.org"]}, _keep, 2),
    "more-names": ({"names": ["more-names.example.org", "other.example.org"]}, _keep, 2),
    "expired": ({"not_before": LONG_AGO, "days": 1}, _keep, 2),
    "not-yet-valid": ({"not_before": SOON}, _keep, 2),
    "missing": ({}, lambda folder: (folder / "pubcert.pem").unlink(), 1),
    "other-names": ({"names": ["other.example.org"]}, _keep, 1),
    "must-staple": ({"must_staple": True}, _keep, 1),
    "without-names": ({"san": False}, _keep, 1),
    "empty": ({}, _rewrite("pubcert.pem", lambda pem: b""), 1),
    "short": ({}, _rewrite("pubcert.pem", lambda pem: b"no certificate\n"), 1),
    "long": ({}, _rewrite("pubcert.pem", lambda pem: b"no certificate\n" * 100), 4),
    "cut": ({}, _rewrite("pubcert.pem", lambda pem: pem[:500]), 4),
    "cut-late": ({"key": "rsa4096"}, _rewrite("pubcert.pem", lambda pem: pem[:1100]), 4),
    "garbled": ({"key": "rsa4096"}, _rewrite("pubcert.pem", lambda pem: pem.replace(b"MII", b"+II")), 4),
    "without-key": ({}, lambda folder: (folder / "privkey.pem").unlink(), 1),
    "wrong-key": ({}, _rewrite("privkey.pem", lambda pem: OTHER_KEY.read_bytes()), 1),
}
OTHER_KEY = FIXTURES / "store-2.0/domains/old.example.org/privkey.pem"


def _stored_states(world: World, rows: list[str]) -> dict[str, Any]:
    """State and description of each domain, as listed and as stored."""
    httpd, ca = world.httpd(), world.pki.ca("CA")
    httpd.config.add(*NOBODY, "MDRenewMode manual")
    for short in [*rows, "two"]:
        httpd.config.http(f"{short}.example.org")
        httpd.config.md_set(f"{short}.example.org", *(["MDPrivateKeys rsa2048 secp384r1"] if short == "two" else []))
    httpd.start().stop()
    for short in rows:
        md, (options, spoil, _) = f"{short}.example.org", STATES[short]
        options = {"names": [md], "key": "rsa2048", **options}
        _put(world.sandbox, md, ca.leaf(*options.pop("names"), **options))
        spoil(world.sandbox.domains(md))
    _put(world.sandbox, "two.example.org", ca.leaf("two.example.org", key="p384"), suffix=".secp384r1")
    httpd.log.expects("AH10110", optional=True)
    httpd.start()
    listed = {md["name"]: md for md in httpd.md_status()["managed-domains"]}
    both = {md: (listed[md], world.sandbox.md_json(md)) for md in listed}
    return {
        md.split(".")[0]: [{key: each.get(key) for key in ("state", "state-descr")} for each in pair] for md, pair in both.items()
    }


def test_the_certificates_make_the_state_as_in_the_c_module() -> None:
    rows = [short for short, (_, _, state) in STATES.items() if state != 4]
    differences = {
        "must-staple.1.state-descr": "C writes a new description only with a new state",
        "other-names.1.state-descr": "as above",
        "without-key.?.state*": "C looks at certificates only, and mod_ssl does not start then",
        "wrong-key.?.state*": "as above",
    }
    found = Oracle().both(lambda world: _stored_states(world, rows), differences)
    assert {short: found[short][0]["state"] for short in rows} == {short: STATES[short][2] for short in rows}


def test_a_damaged_certificate_is_an_error_of_its_domain_only(world: World) -> None:
    """The C module does not start then."""
    rows = ["good", *(short for short, (_, _, state) in STATES.items() if state == 4)]
    found = _stored_states(world, rows)
    for short in rows:
        assert [each["state"] for each in found[short]] == [STATES[short][2]] * 2, short


@pytest.mark.parametrize("writer", ["system", "ours"])
def test_md_json_is_written_only_when_something_in_it_changed(world: World, sandbox: Sandbox, writer: str) -> None:
    httpd = world.httpd().use(Module.named(writer))
    httpd.config.add(*NOBODY, "MDRenewMode manual", "MDContactEmail admin@example.org")
    httpd.config.managed("a.example.org", "www.example.org")
    httpd.config.md_set("b.example.org", "MDPrivateKeys rsa2048 secp384r1", "MDRenewWindow 20d").http("b.example.org")
    httpd.start().stop()
    files = [sandbox.domains(md) / "md.json" for md in ("a.example.org", "b.example.org")]
    written = [json.loads(file.read_text()) for file in files]
    for md in written:
        # C does not know which of its CAs a domain uses before the first renewal.
        md["ca"].setdefault("url", md["ca"]["urls"][0])
    httpd.use(Module.named("ours"))
    httpd.start()
    first = [(file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes()) for file in files]
    # The C module does not say whether MDRenewWindow is configured.
    own = "renew-window-configured"
    read = [json.loads(file.read_text()) for file in files]
    assert [{**md, own: None} for md in read] == [{**md, own: None} for md in written]
    for start in (httpd.graceful, httpd.restart):
        start()
        assert [(file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes()) for file in files] == first
    httpd.config.add("MDRenewWindow 40%")
    httpd.graceful()
    changed = [file.read_bytes() != before for file, (_, _, before) in zip(files, first, strict=True)]
    assert changed == [True, False]


def test_challenge_data_of_names_that_no_domain_has_is_removed_at_a_start(lone_httpd: Httpd, sandbox: Sandbox) -> None:
    httpd = _configure(lone_httpd, ["a b"]).start()
    for name in _names("a b c"):
        sandbox.write(f"md/challenges/{name}/acme-http-01.txt", "data")
    sandbox.write("md/challenges/stray", "none of ours")
    httpd.graceful()
    assert sorted(path.name for path in sandbox.challenges().iterdir()) == [*_names("a b"), "stray"]
