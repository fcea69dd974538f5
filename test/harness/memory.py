"""Private keys in the memory of processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from .pki import Key, pem_key

_PIECE = 16


def holds(pid: int, key: Key, access: str = "rw") -> list[str]:
    """Where the process has parts of what is secret in the key: what of it, and the address.

    All that it can write to is looked at, as a core file has it, or with `access` "r" all that it can read: numbers as they are in files and as OpenSSL computes with
    them (the lowest byte first), and lines of PEM. Pieces are enough, as who frees memory overwrites its beginning.
    """
    parts = _parts(key)
    return [f"{what} at {begin + at:#x}" for begin, data in _areas(pid, access) for what, part in parts if (at := data.find(part)) >= 0]


def _parts(key: Key) -> list[tuple[str, bytes]]:
    numbers = key.private_numbers()
    if isinstance(numbers, rsa.RSAPrivateNumbers):
        secret = {"d": numbers.d, "p": numbers.p, "q": numbers.q}
        # The first lines have the modulus.
        lines = pem_key(key).splitlines()[10:-2]
        lines = [lines[len(lines) // 2], lines[-1]]
    else:
        secret = {"d": numbers.private_value}
        # The others have the public key.
        lines = pem_key(key).splitlines()[1:3]
    found = [(f"PEM line {line}", line.encode()) for line in lines]
    for name, number in secret.items():
        data = number.to_bytes((number.bit_length() + 7) // 8, "big")
        pieces = {"beginning": data[:_PIECE], "end": data[-_PIECE:]}
        for where, piece in pieces.items():
            found += [(f"{where} of {name}", piece), (f"{where} of {name}, lowest byte first", piece[::-1])]
    return found


def _areas(pid: int, wanted: str) -> Iterator[tuple[int, bytes]]:
    """Address and content of what the process can access in this way."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            addresses, access = line.split()[:2]
            begin, end = (int(part, 16) for part in addresses.split("-"))
            # What was unmapped meanwhile cannot be read.
            with contextlib.suppress(OSError):
                if access.startswith(wanted):
                    memory.seek(begin)
                    yield begin, memory.read(end - begin)
