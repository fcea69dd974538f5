"""What a TLS server really sends, by openssl s_client."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .certificate import Certificate


class HandshakeFailed(AssertionError):
    """No certificate was received; the text is s_client's."""


@dataclass(frozen=True)
class Served:
    """A handshake: the chain as it was sent, leaf first, and what s_client said."""

    chain: list[Certificate]
    text: str

    @property
    def leaf(self) -> Certificate:
        return self.chain[0]

    @property
    def names(self) -> list[str]:
        return self.leaf.names

    @property
    def verified(self) -> bool:
        """The chain leads to the CA given and covers the name asked for."""
        return "Verify return code: 0 (ok)" in self.text

    @property
    def protocol(self) -> str:
        """`TLSv1.2` or `TLSv1.3`."""
        found = re.search(r"^New, (TLSv[\d.]+)", self.text, re.M)
        return found[1] if found else ""

    @property
    def alpn(self) -> str | None:
        found = re.search(r"^ALPN protocol: (.*)$", self.text, re.M)
        return found[1] if found else None

    @property
    def staple(self) -> str | None:
        """The OCSP status of the stapled response (`good`, `revoked`, `unknown`), None without a staple."""
        found = re.search(r"^\s*Cert Status: (\w+)", self.text, re.M)
        return found[1] if found else None


def handshake(
    port: int,
    name: str | None,
    *,
    tls: str | None = None,
    sigalgs: str | None = None,
    alpn: str | None = None,
    status: bool = False,
    ca: Path | None = None,
) -> Served:
    """One handshake with 127.0.0.1:`port`.

    `name` is the SNI (None: none), `tls` is "1.2" or "1.3", `sigalgs` an OpenSSL list such as `ECDSA+SHA256`,
    `status` asks for a staple.
    """
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-showcerts"]
    command += ["-servername", name] if name else ["-noservername"]
    command += [f"-tls{tls.replace('.', '_')}"] if tls else []
    command += ["-sigalgs", sigalgs] if sigalgs else []
    command += ["-alpn", alpn] if alpn else []
    command += ["-status"] if status else []
    command += ["-CAfile", str(ca)] if ca else ["-no-CAfile", "-no-CApath"]
    command += ["-verify_hostname", name] if ca and name else []
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    text = (done.stdout + done.stderr).decode(errors="replace")
    chain = Certificate.chain(done.stdout.decode(errors="replace").split("Server certificate")[0])
    if not chain:
        raise HandshakeFailed(text)
    return Served(chain, text)
