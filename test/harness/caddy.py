"""Caddy's `acme_server`, which is the ACME library of step-ca with an authority in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .authority import REFUSED, Authority
from .module import BUILD


class Caddy(Authority):
    """The Caddy of Debian unstable."""

    name = "caddy"
    path = "/acme/local/directory"
    program = BUILD / "caddy" / "unstable"
    lacks = {
        "key roll-over": "keyChange answers 'The requested operation is not implemented'",
        "external accounts": "acme_server has no setting for them",
        "dns-persist-01": "not among its challenges",
        "proven names": "each authorization is new",
        "renewal information": "no renewalInfo in the directory",
    }

    @classmethod
    def missing(cls) -> str:
        return "" if cls.program.exists() else f"{cls.program} is missing: run `make deps`"

    def command(self) -> tuple[list[str], dict[str, str]]:
        file = self.folder / "caddy.json"
        file.write_text(json.dumps(self._config(), indent=2))
        # Caddy keeps its state and looks for the system's trust stores below these.
        env = {name: str(self.folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        return [str(self.program), "run", "--config", str(file)], env

    def start(self) -> Caddy:
        super().start()
        self.root.write_text(self._root.read_text())
        return self

    @property
    def _root(self) -> Path:
        return self.folder / "storage" / "pki" / "authorities" / "local" / "root.crt"

    def _handler(self) -> dict[str, Any]:
        return {
            "handler": "acme_server",
            "ca": "local",
            "lifetime": "12h",
            "challenges": ["http-01", "tls-alpn-01", "dns-01"],
            "policy": {"deny": {"domains": [REFUSED]}, "allow_wildcard_names": True},
        }

    def _config(self) -> dict[str, Any]:
        server = {
            "listen": [f"127.0.0.1:{self.port}"],
            "routes": [{"handle": [self._handler()]}],
            "tls_connection_policies": [{}],
            "automatic_https": {"disable": True},
            "logs": {},
        }
        return {
            "admin": {"disabled": True},
            "storage": {"module": "file_system", "root": str(self.folder / "storage")},
            "apps": {
                "http": {"servers": {"acme": server}},
                "pki": {"certificate_authorities": {"local": {"install_trust": False}}},
                "tls": {"certificates": {"load_files": [{"certificate": str(self.leaf.chain_file), "key": str(self.leaf.key_file)}]}},
            },
        }


class OldCaddy(Caddy):
    """The Caddy of this machine's Debian."""

    name = "old-caddy"
    program = BUILD / "caddy" / "release"
    lacks = Caddy.lacks | {"a policy": "acme_server has no policy before Caddy 2.8"}

    def _handler(self) -> dict[str, Any]:
        return {"handler": "acme_server", "ca": "local"}
