"""A store in which something that runs as the server's user has planted what it likes, or holds what it can.

The start and `a2md` are root's: they change nothing outside of the store, read nothing there, use nothing that was planted, and take
no longer than two seconds more.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import planting
from harness.a2md import a2md
from harness.httpd import Httpd
from harness.pki import Pki
from harness.planting import NAME
from harness.sandbox import USER, Sandbox

pytestmark = pytest.mark.module("ours")

OTHER = "b.example.org"
MORE = 2.0
"""Seconds that whatever is planted may cost."""
BUSY = 4.0
"""Seconds that a machine which is busy with other tests may take for the same once more."""
IGNORED = ["AH10069", "AH10110", "MD0027", "MD0028", "MD0032", "MD0035", "staging/", "challenges/", "ocsp/", "live/", "AH10064"]
"""What the log may tell of traps."""


def as_user(*command: str | Path, user: str = USER, **options: object) -> subprocess.Popen[str]:
    """A program of this user, whose text is its input."""
    who = pwd.getpwnam(user)
    identity = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", **identity, **options)


def planter(what: str, sandbox: Sandbox, outside: Path) -> subprocess.Popen[str]:
    """The planter at its work."""
    source = Path(planting.__file__).read_text()
    started = as_user("/usr/bin/python3", "-I", "-c", source, what, sandbox.store, outside)
    assert started.stdout and started.stdout.readline() == "ready\n"
    return started


@contextlib.contextmanager
def unread(folder: Path) -> Iterator[None]:
    """Nobody opens a file of this folder meanwhile, or the folder itself."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    access, opened, attributes = 0x1, 0x20, 0x4
    assert libc.inotify_add_watch(watch, os.fsencode(folder), access | opened | attributes) >= 0
    yield
    events = b""
    with contextlib.suppress(BlockingIOError):
        events = os.read(watch, 1 << 16)
    os.close(watch)
    told = []
    while events:
        _, mask, _, length = struct.unpack_from("iIII", events)
        told.append((hex(mask), events[16 : 16 + length].rstrip(b"\0")))
        events = events[16 + length :]
    assert not told


def state(*folders: Path) -> dict[Path, tuple[object, ...]]:
    """Everything below folders, without the times of reading and the number of links."""
    found: dict[Path, tuple[object, ...]] = {}
    for path in [each for folder in folders for each in [folder, *sorted(folder.rglob("*"))]]:
        stat = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[path] = (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_size, stat.st_mtime_ns, content)
    return found


@pytest.fixture
def outside(sandbox: Sandbox) -> Iterator[Path]:
    """Files that are none of the server's business. What was planted is removed by a program that can."""
    folder = sandbox.root / "outside"
    (folder / "folder").mkdir(parents=True)
    (folder / "folder" / "md.json").write_text("{}")
    (folder / "secret").write_text("0123456789abcdef\n")
    (folder / "secret").chmod(0o640)
    yield folder
    subprocess.run(["rm", "-rf", sandbox.store], check=True)


@pytest.fixture
def httpd(lone_httpd: Httpd) -> Httpd:
    """A server that asks nobody for certificates."""
    lone_httpd.config.defaults = ["MDCertificateAuthority https://localhost:1/dir", "MDRenewMode manual"]
    for name in (NAME, OTHER):
        lone_httpd.config.managed(name)
    lone_httpd.start().stop()
    return lone_httpd


def took(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def commands(sandbox: Sandbox) -> list[Callable[[], object]]:
    words = [["list"], ["status"], ["check"], ["status", NAME], ["acme", "list"]]
    return [lambda line=line: a2md("-d", sandbox.store, *line) for line in words]


def acts(httpd: Httpd, sandbox: Sandbox) -> dict[str, Callable[[], object]]:
    """What root does with a store."""
    own = commands(sandbox)
    return {"start": httpd.start, "graceful": httpd.graceful, "restart": httpd.restart, "stop": httpd.stop} | {
        f"a2md {number}": command for number, command in enumerate(own)
    }


def give(path: Path) -> Path:
    who = pwd.getpwnam(USER)
    os.chown(path, who.pw_uid, who.pw_gid, follow_symlinks=False)
    return path


def stage(sandbox: Sandbox, name: str, chain: Path, key: bytes) -> None:
    """A set in staging/ that is complete, of the server's user."""
    folder = sandbox.staging(name)
    folder.mkdir(exist_ok=True)
    give(folder)
    md = sandbox.md_json(name)
    md["ca"]["url"] = md["ca"]["urls"][0]
    (folder / "md.json").write_text(json.dumps(md))
    (folder / "job.json").write_text(json.dumps({"name": name, "finished": True, "notified": True, "notified-renewed": True}))
    (folder / "pubcert.pem").write_bytes(chain.read_bytes())
    (folder / "privkey.pem").write_bytes(key)
    for path in folder.iterdir():
        give(path)


def sealed(key: Path, rounds: int) -> bytes:
    """A key under a pass phrase that is not the store's."""
    command = ["openssl", "pkcs8", "-topk8", "-in", key, "-v2", "aes-256-cbc", "-iter", str(rounds), "-passout", "pass:x"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_nothing_that_is_planted_is_used_or_slow_or_leads_out(
    httpd: Httpd, sandbox: Sandbox, pki: Pki, outside: Path
) -> None:
    usual = {name: took(act) for name, act in acts(httpd, sandbox).items()}
    leaf = pki.ca("planted").leaf(NAME, key="rsa2048")
    stage(sandbox, NAME, leaf.chain_file, sealed(leaf.key_file, 3_000_000))
    planted = planter("fill", sandbox, outside)
    assert planted.wait(60) == 0
    # Devices are beyond the server's user, but not beyond whoever restores a backup.
    for number, (group, files) in enumerate(planting.FILES.items()):
        folder = sandbox.store / group / f"device{number}.example.org"
        folder.mkdir()
        for file in files:
            os.mknod(folder / file, 0o600 | 0o020000, os.makedev(1, 5))
    with contextlib.suppress(FileExistsError):
        (sandbox.staging(OTHER)).mkdir()
    os.link(sandbox.store / "md_store.json", sandbox.staging(OTHER) / "md.json")
    own = [sandbox.store / "md_store.json", sandbox.accounts()]
    before = state(outside, *own)
    httpd.log.expects(*IGNORED, optional=True)
    with unread(outside), unread(outside / "folder"):
        slow = {name: (round(took(act), 1), usual[name]) for name, act in acts(httpd, sandbox).items()}
    assert not {name: times for name, times in slow.items() if times[0] > times[1] * 2 + MORE + BUSY}, slow
    assert state(outside, *own) == before
    assert not (sandbox.domains(NAME) / "pubcert.pem").exists()
    print(f"seconds, with traps and without: {slow}", file=sys.stderr)


def test_what_is_swapped_while_root_looks_leads_nowhere(httpd: Httpd, sandbox: Sandbox, outside: Path) -> None:
    own = [sandbox.store / "md_store.json", sandbox.accounts()]
    before = state(outside, *own)
    httpd.log.expects(*IGNORED, optional=True)
    httpd.log.expects(NAME, OTHER, "example.org", "AH10172", "AH10047", "AH10082", optional=True)
    with unread(outside), unread(outside / "folder"):
        swapper = planter("swap", sandbox, outside)
        try:
            httpd.start()
            for _ in range(3):
                for command in commands(sandbox):
                    assert took(command) < MORE + BUSY
                httpd.graceful()
            assert httpd.get(f"https://{NAME}/").status == 503
            httpd.stop()
        finally:
            swapper.kill()
            swapper.wait()
    assert state(outside, *own) == before


def test_a_planted_key_is_neither_activated_nor_live_and_an_own_one_is(httpd: Httpd, sandbox: Sandbox, pki: Pki) -> None:
    httpd.config.add("MDActivation live")
    leaf = pki.ca("planted").leaf(NAME, key="rsa2048")
    stage(sandbox, NAME, leaf.chain_file, leaf.key_file.read_bytes())
    live = sandbox.store / "live" / NAME
    live.mkdir()
    give(live)
    pairs = [{"type": "rsa", "chain": leaf.chain_file.read_text(), "private-key": leaf.key_file.read_text()}]
    (live / "live.json").write_text(json.dumps({"pairs": pairs}))
    give(live / "live.json")
    give(live)
    httpd.log.expects("AH10069", "MD0035", f"staging/{NAME}/privkey.pem is not a usable private key")
    httpd.start()
    assert httpd.get(f"https://{NAME}/").status == 503
    assert not sandbox.staging(NAME).exists(), "it is dropped"
    # While the server runs, a child finds it.
    stage(sandbox, NAME, leaf.chain_file, leaf.key_file.read_bytes())
    os.utime(live / "live.json", (1, 1))
    httpd.wait_log("was not written by a server of this store", times=2)
    assert httpd.get(f"https://{NAME}/").status == 503
    shutil.rmtree(live)
    # What the administrator has put there is root's.
    for path in sandbox.staging(NAME).iterdir():
        os.chown(path, 0, 0)
    httpd.graceful()
    assert httpd.served(NAME).leaf.serial == leaf.certificate.serial


HOLD = """
import fcntl, os, sys
held = []
for path in sys.argv[1:]:
    for flags in (os.O_RDWR | os.O_NONBLOCK, os.O_RDONLY | os.O_NONBLOCK):
        try:
            held.append(os.open(path, flags))
            fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            pass
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("user", ["nobody", USER])
def test_nobody_holds_what_root_waits_for(httpd: Httpd, sandbox: Sandbox, user: str) -> None:
    usual = {name: took(act) for name, act in acts(httpd, sandbox).items()}
    for name in (NAME, OTHER):
        sandbox.staging(name).mkdir(exist_ok=True)
        give(sandbox.staging(name))
        (sandbox.staging(name) / "md.json").write_text("{}")
        sandbox.locks(name).touch(mode=0o600)
        give(sandbox.locks(name))
    httpd.log.expects(*IGNORED, optional=True)
    can_open = sorted(sandbox.open_to(user))
    assert can_open
    holder = as_user("/usr/bin/python3", "-I", "-c", HOLD, *can_open, user=user)
    try:
        assert holder.stdout and holder.stdout.readline() == "ready\n"
        slow = {name: (round(took(act), 1), usual[name]) for name, act in acts(httpd, sandbox).items()}
    finally:
        holder.kill()
        holder.wait()
    print(f"seconds, with locks of {user} and without: {slow}", file=sys.stderr)
    more = MORE if user == USER else 0.0
    assert not {name: times for name, times in slow.items() if times[0] > times[1] * 2 + more + BUSY}, slow
