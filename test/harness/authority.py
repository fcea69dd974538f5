"""An ACME server of others, run as its makers ship it; what the servers have in common."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from .certificate import Certificate
from .http import request
from .network import asking
from .pki import Ca
from .ports import Ports
from .process import OneService, Service
from .sandbox import Sandbox
from .wait import wait

REFUSED = "blocked.example.org"
"""The name that every server refuses by its policy, if it has one."""
KNOWN = "known.example.org"
"""The name that a server takes for proven, if it has such names."""
REFUSED_ADDRESS = "127.0.0.99"
"""The address of that name: some refuse addresses."""


class Authority(OneService):
    """An ACME server that keeps its accounts and its root over restarts. It validates at ports 80 and 443, and its DNS
    is at port 53: the test has a network of its own (`network.py`)."""

    name: ClassVar[str]
    """Names the server in tests and their reasons."""
    lacks: ClassVar[dict[str, str]] = {}
    """What the server does not offer, and how that shows."""
    refusals: ClassVar[set[str]] = {"rejectedIdentifier"}
    """Problems with which the server refuses `REFUSED`."""
    path: ClassVar[str] = "/directory"
    """The path of the directory."""
    http_port: ClassVar[int] = 80
    tls_port: ClassVar[int] = 443

    def __init__(self, sandbox: Sandbox, tls: Ca) -> None:
        self.sandbox, self.port = sandbox, Ports.mine().take()
        self.leaf = tls.leaf("localhost", "127.0.0.1")
        """The certificate of its web server."""
        self.trust = tls.cert_file
        """Root of that certificate: MDCACertificateFile."""
        self.root = sandbox.root / f"{self.name}-root.pem"
        """Root of the certificates that the server issues."""
        self.folder = sandbox.root / self.name
        """The server's own files."""
        self.folder.mkdir()

    @classmethod
    def missing(cls) -> str:
        """Why the server cannot be run on this machine, or an empty text."""
        raise NotImplementedError

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Writes the configuration and returns the command with its environment."""
        raise NotImplementedError

    def is_revoked(self, certificate: Certificate) -> bool | None:
        """Whether the server says so itself; None if it publishes nothing."""
        return None

    @property
    def directory(self) -> str:
        """The directory URL: MDCertificateAuthority."""
        return f"https://localhost:{self.port}{self.path}"

    @property
    def log(self) -> Path:
        return self.sandbox.logs / f"{self.name}.log"

    def start(self) -> Authority:
        command, env = self.command()
        self._service = Service(asking(self.sandbox, command), self.log, env)
        self._service.start()
        wait(self._serves, 60, what=self.name)
        return self

    def _serves(self) -> bool:
        if not (self._service and self._service.running):
            raise AssertionError(f"{self.name} ended: {self.log.read_text()}")
        try:
            return request(self.directory, self.port, ca=self.trust).status == 200
        except ConnectionError:
            return False
