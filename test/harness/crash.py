"""Faults at a chosen system call, by strace: processes die or calls fail where a test says."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .httpd import Httpd, StartFailed
from .module import Missing
from .process import Proc, Service
from .wait import wait

# glibc and Rust use one or the other, depending on the machine.
_SETS = {"rename": "?rename,?renameat,?renameat2", "link": "?link,?linkat", "fsync": "fsync,fdatasync,syncfs"}


@dataclass(frozen=True)
class Fault:
    """A fault at the `nth` call: the process is killed, or with `error` (`ENOSPC`) this and later calls fail.

    `calls` is `rename`, `link`, `fsync` or a set in strace's words. `path` restricts it to calls that name this file;
    of a rename strace looks at the old name only. strace counts per thread and kind of call.
    """

    calls: str
    nth: int = 1
    error: str | None = None
    path: Path | None = None

    def options(self, out: Path) -> list[str]:
        calls = _SETS.get(self.calls, self.calls)
        what = f"error={self.error}:when={self.nth}+" if self.error else f"signal=KILL:when={self.nth}"
        only = ["-P", str(self.path)] if self.path else []
        return ["-f", "-o", str(out), *only, "-e", f"trace={calls}", "-e", f"inject={calls}:{what}"]


class Crash:
    """Runs one server with faults."""

    def __init__(self, httpd: Httpd) -> None:
        if not shutil.which("strace"):
            raise Missing("strace is missing: run `make deps`, or install strace")
        self.httpd = httpd
        self._runs = 0
        self._tracers: list[Service] = []

    def start(self, fault: Fault) -> bool:
        """Start the server with a fault in any of its processes; True if it runs then."""
        return self._start(fault.options(self._out()))

    def calls_at_start(self, calls: str) -> list[str]:
        """Start the server, stop it, and tell the calls it made: how often a test over all of them has to run."""
        out = self._out()
        assert self._start(["-f", "-o", str(out), "-e", f"trace={_SETS.get(calls, calls)}"])
        self.httpd.stop()
        return [line.split(maxsplit=1)[1] for line in out.read_text().splitlines() if "(" in line]

    def attach(self, fault: Fault, *procs: Proc) -> Crash:
        """Put a fault into running processes, by default into all children of the server."""
        procs = procs or tuple(self.httpd.children())
        out = self._out()
        pids = [arg for proc in procs for arg in ("-p", str(proc.pid))]
        tracer = Service(["strace", *fault.options(out), *pids], out.with_suffix(".log"))
        tracer.start()
        self._tracers.append(tracer)
        wait(lambda: all(_traced(proc) for proc in procs), what=f"strace of {[str(p) for p in procs]}")
        return self

    @property
    def hits(self) -> int:
        """How many faults have happened."""
        text = "".join(out.read_text() for out in self._outs())
        # A call that was the process's last has no result.
        return len(re.findall(r"\(INJECTED\)$|= \?$", text, re.M))

    def stop(self) -> None:
        """End all faults; processes that still live go on."""
        for tracer in self._tracers:
            tracer.stop()

    def _start(self, options: list[str]) -> bool:
        # -D: the server stays the direct child, strace goes when the last of its processes does.
        self.httpd.prefix = ["strace", "-D", *options]
        # One process goes through the whole start, so that a fault can be at any call of it.
        self.httpd.foreground = True
        try:
            self.httpd.start()
        except StartFailed:
            # The tracer may still have to write down what it did.
            out = self._outs()[-1]
            wait(lambda: out.exists() and out.read_text().rstrip().endswith("+++"), what=f"end of {out}")
            return False
        finally:
            self.httpd.prefix, self.httpd.foreground = [], False
        return True

    def _out(self) -> Path:
        self._runs += 1
        return self.httpd.sandbox.logs / f"strace-{self._runs}"

    def _outs(self) -> list[Path]:
        found = [path for path in self.httpd.sandbox.logs.glob("strace-*") if not path.suffix]
        return sorted(found, key=lambda path: int(path.name.partition("-")[2]))


def _traced(proc: Proc) -> bool:
    try:
        status = [path.read_text() for path in Path(f"/proc/{proc.pid}/task").glob("*/status")]
    except OSError:
        return not proc.alive
    return all("TracerPid:\t0\n" not in text for text in status)
