"""Handshakes with a TLS server, by openssl s_client; and connections that are kept, by Python's ssl."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .certificate import Certificate
from .wait import wait


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
    address: str = "127.0.0.1",
) -> Served:
    """Makes a handshake with `port` of this machine.

    `name` is the SNI (None: none), `tls` is "1.2" or "1.3", `sigalgs` an OpenSSL list such as `ECDSA+SHA256`,
    `status` asks for a staple.
    """
    host = f"[{address}]" if ":" in address else address
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-showcerts"]
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


class Client:
    """Connections of one client to 127.0.0.1:`port`, which remembers sessions if it is told to.

    `tls` is "1.2" or "1.3"; with `tickets` sessions are kept by the client, else (TLS 1.2) by the server.
    """

    def __init__(self, port: int, tls: str, tickets: bool = True) -> None:
        self._port = port
        self._context = ssl._create_unverified_context()
        self._context.minimum_version = self._context.maximum_version = ssl.TLSVersion[f"TLSv{tls.replace('.', '_')}"]
        self._context.post_handshake_auth = True
        if not tickets:
            self._context.options |= ssl.OP_NO_TICKET

    def connect(self, name: str, session: ssl.SSLSession | None = None) -> Connection:
        """A connection on which the handshake is done."""
        return self.greet(self._dial(), name, session)

    def dial(self) -> socket.socket:
        """A connection on which nothing was said; the server has accepted it, for which it needs `AcceptFilter http none`."""
        plain = self._dial()
        wait(lambda: _is_accepted(self._port, plain.getsockname()[1]), what="accepted connection")
        return plain

    def greet(self, plain: socket.socket, name: str, session: ssl.SSLSession | None = None) -> Connection:
        """Do the handshake."""
        try:
            return Connection(name, self._context.wrap_socket(plain, server_hostname=name, session=session))
        except BaseException:
            plain.close()
            raise

    def _dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), 30)


class Connection:
    """A TLS connection that speaks HTTP/1.1."""

    def __init__(self, name: str, secure: ssl.SSLSocket) -> None:
        self._name, self._secure = name, secure
        self._http = http.client.HTTPConnection(name)
        self._http.sock = secure
        self._http.auto_open = 0

    @property
    def resumed(self) -> bool:
        """Whether the connection resumes the session that it was given."""
        return bool(self._secure.session_reused)

    @property
    def leaf(self) -> Certificate:
        """The server's certificate; of a resumed session the one with which that began."""
        return Certificate.from_der(self._secure.getpeercert(binary_form=True) or b"")

    @property
    def session(self) -> ssl.SSLSession | None:
        """To go on with later; in TLS 1.3 it comes with the first answer."""
        return self._secure.session

    def get(self, path: str = "/") -> tuple[int, str]:
        """Status and body of the answer. The connection stays open if the server lets it."""
        self._http.request("GET", path)
        answer = self._http.getresponse()
        return answer.status, answer.read().decode()

    def close(self) -> None:
        self._http.close()


def _is_accepted(port: int, client: int) -> bool:
    """Whether a process has the server's end: before that it has no inode."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ends = [int(end.split(":")[1], 16) for end in fields[1:3]]
        if ends == [port, client]:
            return fields[9] != "0"
    return False
