"""The command line that is built beside the module."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .module import BUILD, Missing
from .pebble import Pebble
from .sandbox import Sandbox


def a2md(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `a2md` with these arguments: `.returncode`, `.stdout`, `.stderr`."""
    path = BUILD / "a2md"
    if not path.exists():
        raise Missing(f"{path} is missing: run `make build`")
    return subprocess.run([path, *args], capture_output=True, text=True, timeout=120)


@dataclass(frozen=True)
class Done:
    """What came of a command: exit code, lines, and with -j the document."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.out))

    @property
    def output(self) -> list[Any]:
        """What the document lists, of a command that succeeded."""
        assert (self.code, self.document["status"]) == (0, 0), self
        return list(self.document["output"])

    @property
    def md(self) -> dict[str, Any]:
        """The one domain in it."""
        (md,) = self.output
        return dict(md)


@dataclass(frozen=True)
class A2md:
    """`a2md` on the store of a sandbox, as a client of a CA if there is one."""

    sandbox: Sandbox
    pebble: Pebble | None = None
    options: tuple[str | Path, ...] = ()

    def __call__(self, *args: str | Path) -> Done:
        """Run a command; words that are paths are fine."""
        ca = ("-a", self.pebble.directory, "-C", self.pebble.trust) if self.pebble else ()
        done = a2md("-d", self.sandbox.store, *ca, *self.options, *args)
        return Done(done.returncode, done.stdout, done.stderr)

    def with_options(self, *options: str | Path) -> A2md:
        """The same with more options of the program, such as `-j` or `-t accepted`."""
        return replace(self, options=(*self.options, *options))

    @property
    def json(self) -> A2md:
        return self.with_options("-j")
