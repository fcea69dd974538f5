"""acmeeh, with the PostgreSQL that it needs."""

from __future__ import annotations

import json

from .authority import REFUSED
from .module import BUILD
from .pki import Ca
from .ports import Ports
from .process import Service
from .python_authorities import PythonAuthority
from .sandbox import USER, Sandbox
from .wait import wait

_HOME = BUILD / "acmeeh"
_PROGRAMS = _HOME / "postgresql" / "bin"


class Acmeeh(PythonAuthority):
    """acmeeh with an authority in files."""

    name = "acmeeh"
    application = "acmeeh.server.wsgi:app"
    python = _HOME / "venv" / "bin" / "python"
    lacks = {
        "addresses by http-01": "an address has tls-alpn-01 only",
        "proven names": "each authorization is new, until one is valid",
        "renewal information": "renewalInfo is of a draft, and answers 404 for the identifiers of RFC 9773",
    }

    def __init__(self, sandbox: Sandbox, tls: Ca) -> None:
        super().__init__(sandbox, tls)
        self._database = Ports.mine().take()
        self._postgres: Service | None = None

    def start(self) -> Acmeeh:
        if self._postgres is None:
            self._start_database()
        super().start()
        return self

    def stop(self) -> None:
        super().stop()
        if self._postgres:
            self._postgres.stop()
            self._postgres = None

    def configure(self) -> dict[str, str]:
        file = self.folder / "acmeeh.json"
        file.write_text(json.dumps(self._config(), indent=2))
        return {"ACMEEH_CONFIG": str(file)}

    def _start_database(self) -> None:
        """PostgreSQL refuses to be root."""
        data = self.sandbox.writable("postgres")
        log = self.sandbox.logs / "postgres.log"
        env = {"LD_LIBRARY_PATH": ":".join(str(path) for path in (_HOME / "debian" / "usr" / "lib").glob("*-linux-gnu*"))}
        user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        if not (data / "PG_VERSION").exists():
            setup = Service([*user, str(_PROGRAMS / "initdb"), "-D", str(data), "-A", "trust", "-U", "acmeeh", "--no-sync"], log, env)
            setup.start()
            wait(lambda: not setup.running, 60, what="initdb")
        options = [f"-p{self._database}", f"-k{data}", "-c", "fsync=off", "-c", "jit=off"]
        self._postgres = Service([*user, str(_PROGRAMS / "postgres"), "-D", str(data), *options], log, env)
        self._postgres.start()
        wait(lambda: "ready to accept connections" in log.read_text(), 60, what="PostgreSQL")

    def _config(self) -> dict[str, object]:
        # A failure that may be repeated leaves the challenge pending, without an error, until a worker comes.
        once = {"auto_validate": True, "max_retries": 0}
        resolvers = once | {"resolvers": ["127.0.0.1"], "propagation_wait_seconds": 0}
        return {
            "server": {"external_url": f"https://localhost:{self.port}"},
            "database": {"host": "127.0.0.1", "port": self._database, "database": "postgres", "user": "acmeeh", "auto_setup": True},
            "security": {
                "rate_limits": {"enabled": False},
                "identifier_policy": {"forbidden_domains": [REFUSED], "allow_ip": True},
            },
            "challenges": {
                "enabled": ["http-01", "tls-alpn-01", "dns-01", "dns-persist-01"],
                "http01": once | {"blocked_networks": []},
                "tlsalpn01": once,
                "dns01": resolvers,
                "dnspersist01": resolvers | {"issuer_domain_names": ["ca.example.net"]},
                "retry_after_seconds": 1,
                "backoff_base_seconds": 1,
            },
            "dns": {"resolvers": ["127.0.0.1"]},
            "ca": {
                "internal": {
                    "root_cert_path": str(self.issuer.cert_file),
                    "root_key_path": str(self.folder / "issuer.key"),
                    "chain_path": str(self.root),
                }
            },
            "ari": {"enabled": True},
            "order": {"retry_after_seconds": 1},
        }
