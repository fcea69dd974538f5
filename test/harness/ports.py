"""Ports that nobody else uses: a block per process, held for its life, and each port probed before it is handed out."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

_FIRST, _BLOCK, _BLOCKS = 10_000, 100, 220


class Ports:
    """A block of ports, held for as long as this process lives.

    Ports are handed out round the block, so that one that was just closed is not the next.
    """

    _mine: Ports | None = None

    def __init__(self) -> None:
        for number in range(_BLOCKS):
            # A name that only this network namespace knows, as it is with ports, and that goes with the process.
            # The descriptor is closed on exec: servers that the test starts do not hold the block.
            lock = socket.socket(socket.AF_UNIX)
            try:
                lock.bind(f"\0mod_md-ports-{number}")
            except OSError:
                lock.close()
                continue
            self._lock = lock
            self._first = _FIRST + number * _BLOCK
            self._held = [_hold(port) for port in self.block]
            self._next = 0
            return
        raise RuntimeError(f"all {_BLOCKS} blocks of ports are taken")

    @classmethod
    def mine(cls) -> Ports:
        """The block of this process (with pytest-xdist: of this worker)."""
        cls._mine = cls._mine or cls()
        return cls._mine

    @property
    def block(self) -> range:
        return range(self._first, self._first + _BLOCK)

    def take(self) -> int:
        """A port that is free for TCP and UDP now."""
        for _ in range(_BLOCK):
            port = self._first + self._next
            self._next = (self._next + 1) % _BLOCK
            if is_free(port):
                return port
        raise RuntimeError(f"no free port in {self._first}-{self._first + _BLOCK - 1}")


def is_free(port: int) -> bool:
    """True if TCP and UDP sockets can be bound to the port, on all addresses."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True


def users(port: int) -> list[str]:
    """The TCP sockets of all processes that have this port at their end, as the kernel lists them."""
    lines = [line for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()[1:]]
    return [line for line in lines if int(line.split()[1].rpartition(":")[2], 16) == port]


def _hold(port: int) -> socket.socket:
    """A socket with which the kernel gives the port to no outgoing connection, and a server can still listen at it."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with suppress(OSError):
        held.bind(("", port))
    return held


def accepts(port: int) -> bool:
    """True if something accepts TCP connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
