"""BIND with one zone that takes signed updates, for a CA to ask instead of the tests' own DNS."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

from .module import BUILD, Missing
from .process import Service
from .sandbox import Sandbox
from .wait import wait

_CONFIG = """
key "updates" {{ algorithm hmac-sha256; secret "{secret}"; }};
options {{
    directory "{folder}"; pid-file none; session-keyfile none;
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; dnssec-validation no; notify no;
}};
controls {{ }};
zone "{zone}" {{ type primary; file "zone"; update-policy {{ grant updates wildcard *.{zone}. TXT; }}; }};
"""
# Every name of the zone is on loopback, where the servers under test listen.
_ZONE = """$TTL 60
@ SOA localhost. root.localhost. 1 60 60 60 1
@ NS ns
@ A 127.0.0.1
* A 127.0.0.1
"""


class Named:
    """A name server for one zone. `key` is the file that signs updates."""

    def __init__(self, sandbox: Sandbox, port: int, zone: str) -> None:
        program = BUILD / "bind" / "named"
        if not program.exists():
            raise Missing(f"{program} is missing: run `make deps`")
        self.port, self.zone = port, zone
        folder = sandbox.root / "named"
        folder.mkdir()
        secret = base64.b64encode(os.urandom(32)).decode()
        sandbox.write("named/named.conf", _CONFIG.format(secret=secret, folder=folder, port=port, zone=zone))
        sandbox.write("named/zone", _ZONE)
        self.key = sandbox.writable("keys") / "updates.key"
        self.key.write_text(f'key "updates" {{ algorithm hmac-sha256; secret "{secret}"; }};\n')
        command = [str(program), "-g", "-4", "-c", str(folder / "named.conf")]
        self._service = Service(command, sandbox.logs / "named.log")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._service.pid

    @property
    def log(self) -> Path:
        return self._service.log

    def start(self) -> None:
        self._service.start()
        wait(lambda: self.ask(self.zone, "SOA"), what="name server")

    def stop(self) -> None:
        self._service.stop()

    def add(self, name: str, kind: str, value: str) -> None:
        """Adds a record by a signed update."""
        update = f"server 127.0.0.1 {self.port}\nupdate add {name}. 60 {kind} {value}\nsend\n"
        subprocess.run(["nsupdate", "-k", str(self.key)], input=update, text=True, check=True, timeout=30)

    def ask(self, name: str, kind: str) -> list[str]:
        """The records of a name."""
        command = ["dig", "@127.0.0.1", "-p", str(self.port), "+short", "+time=5", "+tries=1", name, kind]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        return [] if answer.returncode else answer.stdout.splitlines()
