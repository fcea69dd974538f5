"""The DNS that Pebble asks: pebble-challtestsrv, where every name leads to loopback unless told otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .http import request
from .process import Service
from .sandbox import Sandbox
from .wait import wait

# One that every user can run; that of the tests may be in somebody's home.
_PYTHON = "/usr/bin/python3"
_COMMAND = '''#!{python}
"""dns-01 command of the tests: publishes at the test's DNS and notes how it was called."""
import json, sys, urllib.request

def post(path, **data):
    urllib.request.urlopen("http://127.0.0.1:{port}" + path, json.dumps(data).encode(), 30).read()

with open("{calls}", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
action, domain, *value = sys.argv[1:]
host = "_acme-challenge." + domain.removeprefix("*.") + "."
if action == "setup":
    post("/set-txt", host=host, value=value[0])
else:
    post("/clear-txt", host=host)
'''


def _address_flag(program: Path) -> str:
    """The flag for the address: older releases, as the one in Debian 13, have another name for it."""
    known = subprocess.run([program, "-h"], capture_output=True, text=True).stderr
    return "-dnsserver" if "-dnsserver " in known else "-dns01"


class Dns:
    """A DNS server with records that a test sets."""

    def __init__(self, program: Path, sandbox: Sandbox, port: int, management: int) -> None:
        self.sandbox, self.port, self._management = sandbox, port, management
        off = [arg for flag in ("-http01", "-https01", "-tlsalpn01", "-doh") for arg in (flag, "")]
        address = [f"127.0.0.1:{port}", "-management", f"127.0.0.1:{management}"]
        # No AAAA record: the servers under test listen on IPv4 only.
        command = [str(program), *off, "-defaultIPv6", "", _address_flag(program), *address]
        self._service = Service(command, sandbox.logs / "dns.log")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._service.pid

    def start(self) -> None:
        self._service.start()
        wait(lambda: "Starting management server" in self._service.log.read_text() and self._answers(), what="DNS server")

    def stop(self) -> None:
        self._service.stop()

    def set_a(self, name: str, *addresses: str) -> None:
        self._post("add-a", host=_fqdn(name), addresses=list(addresses))

    def clear_a(self, name: str) -> None:
        self._post("clear-a", host=_fqdn(name))

    def set_txt(self, name: str, value: str) -> None:
        """Add a TXT record; several values for one name are kept side by side."""
        self._post("set-txt", host=_fqdn(name), value=value)

    def clear_txt(self, name: str) -> None:
        self._post("clear-txt", host=_fqdn(name))

    def set_cname(self, name: str, target: str) -> None:
        self._post("set-cname", host=_fqdn(name), target=_fqdn(target))

    def set_caa(self, name: str, *issuers: str) -> None:
        """Only these CAs may issue for the name."""
        self._post("add-caa", host=_fqdn(name), policies=[{"tag": "issue", "value": each} for each in issuers])

    def servfail(self, name: str, on: bool = True) -> None:
        """Answer every question for the name with SERVFAIL."""
        self._post("set-servfail" if on else "clear-servfail", host=_fqdn(name))

    def history(self, name: str) -> list[dict[str, Any]]:
        """The questions for a name so far."""
        return self._post("dns-request-history", host=name.rstrip(".")) or []

    def command(self) -> Path:
        """A program for MDChallengeDns01 that publishes here; `calls()` tells how it was called."""
        calls = self.sandbox.writable("dns-calls") / "calls"
        text = _COMMAND.format(python=_PYTHON if Path(_PYTHON).exists() else sys.executable, port=self._management, calls=calls)
        return self.sandbox.write("bin/dns01", text, 0o755)

    def calls(self) -> list[list[str]]:
        """The arguments of every call of `command()`, in order."""
        calls = self.sandbox.writable("dns-calls") / "calls"
        return [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []

    def _post(self, action: str, **data: Any) -> Any:
        answer = request(
            f"http://localhost/{action}", self._management, method="POST", body=json.dumps(data).encode()
        )
        assert answer.status == 200, answer
        return answer.json() if answer.body else None

    def _answers(self) -> bool:
        try:
            return self._post("set-default-ipv4", ip="127.0.0.1") is None
        except ConnectionError:
            return False


def _fqdn(name: str) -> str:
    return name.rstrip(".") + "."
