"""A Redis of its own for a test: the engine at which nodes of a fleet meet."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from .module import BUILD, Missing
from .pki import Leaf
from .ports import accepts
from .process import Service
from .sandbox import Sandbox
from .wait import wait

# Debian has the server in one file with a tool, and takes the name for the role. The package redis-server would start one.
_TOOLS = ("redis-check-rdb", "valkey-check-rdb")


def program() -> Path:
    """The path of the server."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return Path(found)
    tool = next((path for path in map(shutil.which, _TOOLS) if path), None)
    if not tool:
        raise Missing("redis-tools or valkey-tools is missing: run `make deps`")
    link = BUILD / "redis" / Path(tool).name.replace("check-rdb", "server")
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        # Another worker may do it, too.
        made = link.with_name(f"{link.name}.{os.getpid()}")
        made.symlink_to(tool)
        made.replace(link)
    return link


class Engine:
    """A server without any record, on loopback. `options` are lines of its configuration."""

    def __init__(self, sandbox: Sandbox, port: int, *options: str, tls: Leaf | None = None) -> None:
        self.port, self._is_tls = port, tls is not None
        ports = ["port 0", f"tls-port {port}", f"tls-cert-file {tls.chain_file}", f"tls-key-file {tls.key_file}", "tls-auth-clients no"] if tls else [f"port {port}"]
        folder = sandbox.root / "engine"
        folder.mkdir(exist_ok=True)
        lines = [*ports, "bind 127.0.0.1", 'save ""', f"dir {folder}", *options]
        conf = sandbox.write("engine/engine.conf", "\n".join(lines) + "\n")
        self._service = Service([str(program()), str(conf)], sandbox.logs / "engine.log")

    @property
    def url(self) -> str:
        return f"{'rediss' if self._is_tls else 'redis'}://localhost:{self.port}/"

    @property
    def pid(self) -> int | None:
        return self._service.pid

    def start(self) -> Engine:
        self._service.start()
        wait(lambda: accepts(self.port), what="engine")
        return self

    def stop(self) -> None:
        self._service.stop()

    def freeze(self) -> None:
        """Take connections, and answer nothing."""
        assert self.pid
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.pid
        os.kill(self.pid, signal.SIGCONT)
