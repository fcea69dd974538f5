"""A private Pebble: the CA of one test, with its own DNS."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from .certificate import Certificate
from .dns import Dns
from .http import Response, request
from .module import BUILD, REPO, Missing
from .named import Named
from .pki import Ca, Issuer, Key
from .ports import Ports
from .process import OneService, Service
from .sandbox import Sandbox
from .wait import wait


@dataclass(frozen=True)
class Settings:
    """How the CA behaves. The defaults are Pebble's unkind ones, without its sleep before validation."""

    nonce_reject: int = 5
    """Percent of good nonces that are refused."""
    authz_reuse: int = 50
    """Percent of valid authorizations that come back in a new order."""
    va_sleep: int = 0
    """Seconds, at most, that a validation sleeps."""
    always_valid: bool = False
    """Do not look at challenges."""
    strict: bool = False
    profiles: dict[str, int] = field(default_factory=lambda: {"default": 90 * 86400})
    """Certificate profiles with their lives in seconds. Of several Pebble takes any if none is asked for."""
    eab: dict[str, str] = field(default_factory=dict)
    """kid -> HMAC key (base64url): external account binding is required if there is any."""
    chain_length: int = 1
    alternate_roots: int = 0
    retry_after: int = 1
    """Seconds that clients are asked to wait for authorizations and orders; 0: Pebble's own, 3 and 5."""
    key_algorithm: str = "ecdsa"
    ocsp_url: str = ""


class Pebble(OneService):
    """An ACME server. Killed or restarted it forgets everything and has a new root.

    `http_port` and `tls_port` are where it validates.
    """

    def __init__(self, sandbox: Sandbox, tls: Ca, http_port: int, tls_port: int, dns: Dns | Named, settings: Settings) -> None:
        ports = Ports.mine()
        self.sandbox, self.dns, self.settings = sandbox, dns, settings
        self.http_port, self.tls_port = http_port, tls_port
        self.port, self.management_port = ports.take(), ports.take()
        self._leaf = tls.leaf("localhost", "127.0.0.1")
        self._name = f"pebble-{self.port}"
        self.trust = tls.cert_file
        """Root of Pebble's own web server: MDCACertificateFile."""
        self.root = sandbox.root / f"{self._name}-root.pem"
        """Root of the certificates it issues; written at every start."""

    @property
    def directory(self) -> str:
        """The directory URL: MDCertificateAuthority."""
        return f"https://localhost:{self.port}/dir"

    @property
    def log(self) -> Path:
        return self.sandbox.logs / f"{self._name}.log"

    def start(self) -> Pebble:
        config = self.sandbox.write(f"conf/{self._name}.json", json.dumps(self._config(), indent=2))
        command = [str(program("pebble")), "-config", str(config), "-dnsserver", self.dns.address]
        command += ["-strict"] if self.settings.strict else []
        self._service = Service(command, self.log, self._environment())
        self._service.start()
        wait(self._serves, what="Pebble")
        self.root.write_text(self.roots()[0].pem)
        return self

    def restart(self, **changes: Any) -> Pebble:
        """Start anew, with changed settings if given: no accounts, no orders, a new root."""
        self.stop()
        self.settings = replace(self.settings, **changes)
        return self.start()

    # What its management port tells and does

    def roots(self) -> list[Certificate]:
        """The root, then the alternate ones."""
        return self._certificates("roots")

    def intermediates(self) -> list[Certificate]:
        return self._certificates("intermediates")

    def issuer(self) -> Issuer:
        """Issuer of the CA's certificates, for a responder at `ocsp_url`. Available with `rsa` keys only."""
        key = serialization.load_pem_private_key(self._manage("intermediate-keys/0").text.encode(), None)
        assert isinstance(key, Key)
        return Issuer(self.intermediates()[0], key)

    def set_ari(self, cert: Certificate, start: datetime, end: datetime, explanation: str | None = None) -> None:
        """From now on suggest this renewal window for a certificate (RFC 9773)."""
        window = {"start": start.isoformat(), "end": end.isoformat()}
        self.set_ari_raw(cert, {"suggestedWindow": window} | ({"explanationURL": explanation} if explanation else {}))

    def set_ari_raw(self, cert: Certificate, answer: dict[str, Any] | str) -> None:
        """From now on answer exactly this as the renewal information of a certificate."""
        text = answer if isinstance(answer, str) else json.dumps(answer)
        done = self._manage("set-renewal-info/", {"Certificate": cert.pem, "ARIResponse": text})
        assert done.status == 200, done

    def cert_status(self, cert: Certificate) -> dict[str, Any]:
        """`Status` (Valid, Revoked), `Reason`, ... of a certificate; {} if it is not known."""
        # Pebble wants no leading zero here.
        answer = self._manage(f"cert-status-by-serial/{cert.x509.serial_number:x}")
        return dict(answer.json()) if answer.status == 200 else {}

    def requests(self, part: str = "") -> list[str]:
        """Requests since the first start, as `POST /order-plz`, that contain `part`."""
        found = re.findall(r"^Pebble \S+ \S+ ([A-Z]+ \S+) -> calling handler", self.log.read_text(), re.M)
        return [each for each in found if part in each]

    @property
    def new_accounts(self) -> int:
        """How many accounts it has made since its first start."""
        return len(re.findall(r"There are now \d+ accounts", self.log.read_text()))

    @property
    def new_orders(self) -> int:
        """How many orders it has taken since its first start."""
        return len(re.findall(r"There are now \d+ orders", self.log.read_text()))

    # Inside

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((REPO / "pebble" / "pebble.json").read_text())
        settings = self.settings
        config["pebble"] |= {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management_port}",
            "certificate": str(self._leaf.chain_file),
            "privateKey": str(self._leaf.key_file),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "ocspResponderURL": settings.ocsp_url,
            "retryAfter": {"authz": settings.retry_after, "order": settings.retry_after},
            "keyAlgorithm": settings.key_algorithm,
            "profiles": {
                name: {"description": f"{life} s", "validityPeriod": life} for name, life in settings.profiles.items()
            },
            "externalAccountBindingRequired": bool(settings.eab),
            "externalAccountMACKeys": settings.eab,
        }
        return config

    def _environment(self) -> dict[str, str]:
        settings = self.settings
        sleep = {"PEBBLE_VA_SLEEPTIME": str(settings.va_sleep)} if settings.va_sleep else {"PEBBLE_VA_NOSLEEP": "1"}
        # Pebble reuses an authorization also where a number from 0 to 99 equals the percentage: 1 % of them at 0.
        # With this seed the first nine numbers are above 0.
        seed = {} if settings.authz_reuse else {"GODEBUG": "randautoseed=0"}
        return sleep | seed | {
            "PEBBLE_WFE_NONCEREJECT": str(settings.nonce_reject),
            "PEBBLE_AUTHZREUSE": str(settings.authz_reuse),
            "PEBBLE_VA_ALWAYS_VALID": str(int(settings.always_valid)),
            "PEBBLE_CHAIN_LENGTH": str(settings.chain_length),
            "PEBBLE_ALTERNATE_ROOTS": str(settings.alternate_roots),
        }

    def _serves(self) -> bool:
        if not (self._service and self._service.running):
            raise AssertionError(f"Pebble ended: {self.log.read_text()}")
        try:
            return request(self.directory, self.port, ca=self.trust).status == 200
        except ConnectionError:
            return False

    def _certificates(self, kind: str) -> list[Certificate]:
        count = 1 + self.settings.alternate_roots
        return [Certificate.from_pem(self._manage(f"{kind}/{number}").text) for number in range(count)]

    def _manage(self, path: str, data: dict[str, Any] | None = None) -> Response:
        url = f"https://localhost/{path}"
        if data is None:
            return request(url, self.management_port, ca=self.trust)
        return request(url, self.management_port, ca=self.trust, method="POST", body=json.dumps(data).encode())


def program(name: str) -> Path:
    """The path of `pebble` or `pebble-challtestsrv`: from PEBBLE_DIR, else build/pebble/bin, else PATH."""
    chosen = os.environ.get("PEBBLE_DIR")
    for folder in [Path(chosen)] if chosen else [BUILD / "pebble" / "bin"]:
        if (folder / name).exists():
            return folder / name
    found = None if chosen else shutil.which(name)
    if not found:
        raise Missing(f"{name} is missing: run `make deps`, or set PEBBLE_DIR to the directory that has it")
    return Path(found)
