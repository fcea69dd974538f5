"""Sets that go live as if a renewal had ended: written into the store, and told to the processes of a server that runs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .httpd import Httpd
from .pki import Leaf

_COUNTERS = 1 << 14
_PAGE = os.sysconf("SC_PAGESIZE")
# One counter for all domains goes before those of single ones.
_SIZE = -(-(_COUNTERS + 1) * 4 // _PAGE) * _PAGE


def wait_for_all(httpd: Httpd, name: str, *serials: str, but: frozenset[int] = frozenset()) -> None:
    """Wait until all children have said that they serve certificates, but these. Handshakes in one that reads them have the former."""
    words = [f"{name}: this process serves what went live", *serials]

    def have_all_said_so() -> bool:
        said = {line.pid for line in httpd.log.find(words[0]) if all(line.has(word) for word in words)}
        return {proc.pid for proc in httpd.children()} <= said | but

    httpd.wait(have_all_said_so, what=f"{name} in all children")


class LiveSets:
    """Writes sets for domains with `MDActivation live`, as often as wanted, without a CA."""

    def __init__(self, httpd: Httpd) -> None:
        self._httpd = httpd
        self._texts: dict[Leaf, dict[str, str]] = {}

    def publish(self, name: str, *leaves: Leaf) -> None:
        """Write a set, and count: handshakes that begin from now on find it."""
        self.write(name, *leaves)
        self.count(name)

    def wait_for_all(self, name: str, *leaves: Leaf, but: frozenset[int] = frozenset()) -> None:
        """Wait until all children have said that they serve the set, but these."""
        wait_for_all(self._httpd, name, *(leaf.certificate.serial for leaf in leaves), but=but)

    def write(self, name: str, *leaves: Leaf) -> None:
        """Write a set that nobody is told of."""
        folder = self._httpd.sandbox.store / "live" / name
        folder.mkdir(exist_ok=True)
        new = folder / "live.json.new"
        url, pairs = "https://ca.invalid/", [self._pair(leaf) for leaf in leaves]
        new.write_text(json.dumps({"ca-url": url, "pairs": pairs, "mac": self._mac(name, url, "", pairs)}))
        new.rename(folder / "live.json")

    def count(self, name: str) -> None:
        """Count in the memory that the server's processes share. Nobody else may do so in this moment."""
        parent = self._httpd.parent
        assert parent
        with open(f"/proc/{parent.pid}/mem", "r+b", buffering=0) as memory:
            for begin in _counters(parent.pid):
                # The domain's own before that of all.
                for number in (1 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:2], "big") % _COUNTERS, 0):
                    memory.seek(begin + 4 * number)
                    value = int.from_bytes(memory.read(4), "little") + 1
                    memory.seek(begin + 4 * number)
                    memory.write((value % (1 << 32)).to_bytes(4, "little"))

    def install(self, name: str, *leaves: Leaf) -> None:
        """Before a start: the domain has these certificates from a former one, or from another tool."""
        folder = self._httpd.sandbox.domains(name)
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        for leaf in leaves:
            suffix = f".{_curve(leaf)}" if _curve(leaf) else ""
            (folder / f"pubcert{suffix}.pem").write_text(leaf.chain_file.read_text())
            key = folder / f"privkey{suffix}.pem"
            key.touch(0o600)
            key.write_text(leaf.key_file.read_text())

    def _pair(self, leaf: Leaf) -> dict[str, str]:
        if leaf not in self._texts:
            self._texts[leaf] = {
                "type": _curve(leaf) or "rsa",
                "chain": leaf.chain_file.read_text(),
                "private-key": self._encrypted(leaf),
            }
        return self._texts[leaf]

    def _mac(self, name: str, ca_url: str, account_url: str, pairs: list[dict[str, str]]) -> str:
        """The code that shows that somebody who has the store's secret wrote the set."""
        parts = [name, ca_url, account_url, *(text for pair in pairs for text in pair.values())]
        key = _hmac(self._secret, "mod_md live.json")
        return base64.urlsafe_b64encode(_hmac(key, *parts)).decode().rstrip("=")

    @property
    def _secret(self) -> bytes:
        return base64.urlsafe_b64decode(json.loads((self._httpd.sandbox.store / "md_store.json").read_text())["key"])

    def _encrypted(self, leaf: Leaf) -> str:
        form, encryption = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(self._secret)
        return leaf.key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


def _hmac(key: bytes, *parts: str) -> bytes:
    """HMAC-SHA256 over parts, each with its length in front."""
    texts = [part.encode() for part in parts]
    return hmac.digest(key, b"".join(len(text).to_bytes(8, "big") + text for text in texts), "sha256")


def _curve(leaf: Leaf) -> str | None:
    """The name of an EC key's curve, which the configuration has to spell the same way: `secp384r1`."""
    return None if isinstance(leaf.key, rsa.RSAPrivateKey) else leaf.key.curve.name


def _counters(pid: int) -> list[int]:
    """Where memory of that size is which processes share; another one than that of sets is counted for nothing."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, access = line.split()[:2]
        begin, end = (int(part, 16) for part in addresses.split("-"))
        if end - begin == _SIZE and access == "rw-s":
            found.append(begin)
    assert found, "the server has no counters"
    return found
