"""Plants traps in a store, as any program can that runs as the server's user. Run by that user: imports nothing of the harness."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

NAME = "a.example.org"
GROUPS = ["staging", "challenges", "ocsp", "live"]
FILES = {
    "staging": ["md.json", "job.json", "order.json", "account.json", "account.pem", "ari.json", "privkey.pem", "pubcert.pem"],
    "challenges": ["acme-http-01.txt", "acme-tls-alpn-01-privkey.pem", "acme-tls-alpn-01-pubcert.pem"],
    "ocsp": ["job.json", f"ocsp-{'ab' * 20}.json"],
    "live": ["live.json"],
}
MANY = 3000
WIDE = 200
DOCUMENTS = [
    b"",
    b"{",
    b"[" * 50_000,
    b'{"a":' * 50_000,
    b'{"name":"--evil","domains":["../../x","--evil","*.*","' + b"x" * 70_000 + b'"],"ca":{"url":"file:///etc/shadow"}}',
    b'{"errors":1e9999,"next-run":"Mon, 99 Abc 99999 99:99:99 GMT","log":{"entries":[{"type":"\x1b[2J\\n"}]}}',
    b'{"challenge-setups":["dns-01:--evil x","http-01:../../outside","tls-alpn-01:"],"url":"\\u001b[2J"}',
    b"\xff\xfe\x00" * 1000,
    b"-----BEGIN CERTIFICATE-----\n" * 1000,
]
"""What files hold that somebody else has written."""


def fill(store: Path, outside: Path) -> None:
    """Traps of every kind, in every group."""
    for group in GROUPS:
        for number, make in enumerate(kinds(outside)):
            item = store / group / f"trap{number}.example.org"
            item.mkdir()
            for file in FILES[group]:
                with contextlib.suppress(OSError):
                    make(item / file)
            with contextlib.suppress(OSError):
                make(store / group / f"item{number}.example.org")
        (store / group / ".generation").unlink(missing_ok=True)
        (store / group / ".generation").symlink_to(outside / "secret")
        for name in ["x" * 255, "-rf", "--evil", " ", "a\nb", "\x1b[2J", "é", "*"]:
            (store / group / name).mkdir()
        os.mkdir(os.fsencode(store / group) + b"/\xff\xfe")
        nest(store / group / "deep.example.org")
        wide = store / group / "wide.example.org"
        wide.mkdir()
        for number in range(WIDE):
            (wide / str(number)).touch()
    for number in range(MANY):
        (store / "challenges" / f"c{number}.example.org").mkdir()
        if number % 10:
            continue
        (store / "ocsp" / f"o{number}.example.org").mkdir()
        draft = store / "staging" / f"ACME-x-{number:04}"
        draft.mkdir()
        os.link(store / "staging" / NAME / "privkey.pem", draft / "account.pem")
        (draft / "account.json").write_text('{"url":"https://x.test/1","ca-url":"https://x.test/","status":"valid"}')
        with contextlib.suppress(OSError):
            (store / "locks" / f"l{number}.example.org").touch()


def kinds(outside: Path) -> list[Callable[[Path], object]]:
    """Ways to make a file that is none."""
    return [
        lambda path: path.symlink_to(outside / "secret"),
        lambda path: path.symlink_to(outside),
        lambda path: path.symlink_to(path.name),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: os.mkfifo(path),
        lambda path: bind(path),
        lambda path: path.mkdir(),
        # Where the kernel protects files of others, this fails.
        lambda path: path.hardlink_to(outside / "secret"),
        lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
        *(lambda path, content=content: path.write_bytes(content) for content in DOCUMENTS),
    ]


def bind(path: Path) -> None:
    """A socket, from within its directory: paths of sockets are short."""
    os.chdir(path.parent)
    socket.socket(socket.AF_UNIX).bind(path.name)
    os.chdir("/")


def nest(path: Path) -> None:
    """Directories in each other, more than any program makes."""
    path.mkdir()
    os.chdir(path)
    for _ in range(100):
        os.mkdir("d")
        os.chdir("d")
    os.chdir("/")


def swap(store: Path, outside: Path) -> None:
    """Exchange what is there for something else all the time, until somebody ends this."""
    chance = random.Random(7)
    for number in itertools.count():
        group = chance.choice(GROUPS)
        item = store / group / chance.choice([NAME, "b.example.org", "swapped.example.org"])
        with contextlib.suppress(OSError):
            what = item / chance.choice(FILES[group]) if chance.random() < 0.8 else item
            if what == item and not item.is_symlink():
                item.rename(item.parent / f"old{number}.example.org")
            elif what.exists() or what.is_symlink():
                what.unlink()
            chance.choice(kinds(outside))(what)
            if chance.random() < 0.3 and not item.is_dir():
                item.unlink()
                item.mkdir()
        if number % 50 == 0:
            time.sleep(0.001)


if __name__ == "__main__":
    print("ready", flush=True)
    {"fill": fill, "swap": swap}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
