"""The command line that is built beside the module."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .authority import Authority
from .module import BUILD, Missing
from .pebble import Pebble
from .process import environment
from .sandbox import Sandbox


def program() -> Path:
    """The path of `a2md`."""
    path = BUILD / "a2md"
    if not path.exists():
        raise Missing(f"{path} is missing: run `make build`")
    return path


def a2md(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `a2md` with these arguments: `.returncode`, `.stdout`, `.stderr`; keywords are variables of the environment."""
    return subprocess.run([program(), *args], capture_output=True, text=True, timeout=120, env=environment(**env))


@dataclass(frozen=True)
class Done:
    """Result of a command: exit code, lines, and with -j the document."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.out))

    @property
    def output(self) -> list[Any]:
        """Entries of the document of a command that succeeded."""
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
    pebble: Pebble | Authority | None = None
    options: tuple[str | Path, ...] = ()
    env: tuple[tuple[str, str], ...] = ()

    def __call__(self, *args: str | Path) -> Done:
        """Run a command; words that are paths are fine."""
        done = a2md(*self._words(*args), **dict(self.env))
        return Done(done.returncode, done.stdout, done.stderr)

    def on_a_terminal(self, *args: str | Path, out: bool = False) -> Done:
        """Runs a command with a terminal as stderr; `.err` is the output there, with control characters. With `out`, stdout is the
        terminal, too, and `.out` has all."""
        terminal, end = pty.openpty()
        command = [program(), *self._words(*args)]
        env = environment(**{"TERM": "xterm"} | dict(self.env))
        to = end if out else subprocess.PIPE
        ran = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=to, stderr=end, env=env, text=True)
        os.close(end)
        shown = b""
        # The last to hold the terminal closes it, and reading fails.
        with contextlib.suppress(OSError):
            while data := os.read(terminal, 4096):
                shown += data
        os.close(terminal)
        printed, _ = ran.communicate(timeout=120)
        return Done(ran.returncode, shown.decode() if out else printed, shown.decode())

    def _words(self, *args: str | Path) -> list[str | Path]:
        ca = ("-a", self.pebble.directory, "-C", self.pebble.trust) if self.pebble else ()
        return ["-d", self.sandbox.store, *ca, *self.options, *args]

    def with_options(self, *options: str | Path) -> A2md:
        """A copy with more options of the program, such as `-j` or `-t accepted`."""
        return replace(self, options=(*self.options, *options))

    def with_env(self, **env: str) -> A2md:
        """A copy with these variables in its environment."""
        return replace(self, env=(*self.env, *env.items()))

    @property
    def json(self) -> A2md:
        return self.with_options("-j")


def begin(cli: A2md) -> None:
    """Make a store without domains."""
    assert cli("store", "add", "begin.example.org").code == 0
    shutil.rmtree(cli.sandbox.store / "domains")
