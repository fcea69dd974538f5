"""Processes by identity: who descends from this test run, and how to end exactly those."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .wait import TimedOut, wait

_PR_SET_CHILD_SUBREAPER = 36


def environment(**own: str) -> dict[str, str]:
    """The environment with these variables, and without the proxies of this machine: a server would use them.

    A library to be preloaded comes before those of the environment.
    """
    if also := "LD_PRELOAD" in own and os.environ.get("LD_PRELOAD"):
        own["LD_PRELOAD"] += f" {also}"
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")} | own


def adopt_orphans() -> None:
    """Make this process the parent of every orphan below it.

    A daemon or a left-over command stays a descendant of the test run that way: nothing can hide,
    and the exit status of a daemon can be read.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@dataclass(frozen=True)
class Proc:
    """A process. The pid is never used without the start time, as pids come back."""

    pid: int
    started: int
    parent: int
    zombie: bool
    nameless: bool
    command: str

    @classmethod
    def of(cls, pid: int) -> Proc | None:
        try:
            with open(f"/proc/{pid}/stat") as file:
                stat = file.read()
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return None
        name, rest = stat[stat.index("(") + 1 :].rsplit(")", 1)
        fields = rest.split()
        # A dead main thread shows as a zombie while other threads still hold the sockets.
        zombie = fields[0] in "ZX" and int(fields[17]) <= 1
        return cls(pid, int(fields[19]), int(fields[1]), zombie, not command, command.strip() or name)

    @property
    def alive(self) -> bool:
        now = Proc.of(self.pid)
        return now is not None and now.started == self.started and not now.zombie

    def signal(self, number: int) -> None:
        """Send a signal if the process is still the same one."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def __str__(self) -> str:
        return f"{self.pid} {self.command}"


def _parents() -> dict[int, int]:
    """All processes of the machine, each with its parent. A wait asks this again and again, so no more is read than that."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            # One that ends meanwhile cannot be read.
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb", buffering=0) as stat:
                found[int(entry)] = int(stat.read().rpartition(b")")[2].split(maxsplit=2)[1])
    return found


def _below(parents: set[int], table: dict[int, int]) -> list[Proc]:
    """The children of these processes, dead ones too."""
    found = (Proc.of(pid) for pid, parent in table.items() if parent in parents)
    return [proc for proc in found if proc]


def children(pid: int) -> list[Proc]:
    """The living children of a process."""
    return [proc for proc in _below({pid}, _parents()) if not proc.zombie]


@dataclass(frozen=True)
class Thread:
    """A thread of a process, with the signals that it blocks as a bit mask (bit 0 is signal 1), and its processor time in seconds."""

    name: str
    blocked: int
    worked: float


def threads(pid: int) -> list[Thread]:
    """The threads of a process that live."""
    found = []
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        # One that ends meanwhile cannot be read.
        with contextlib.suppress(OSError):
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            ticks = status.with_name("stat").read_text().rpartition(")")[2].split()[11:13]
            found.append(Thread(fields["Name"], int(fields["SigBlk"], 16), sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")))
    return found


def sleeps(pid: int) -> bool:
    """True if all threads of the process sleep."""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return False
    return all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats)


def descendants(pid: int | None = None) -> list[Proc]:
    """All living processes below `pid`, by default below this one; parents first."""
    table = _parents()
    found, parents = [], {pid or os.getpid()}
    while parents:
        level = _below(parents, table)
        found += level
        parents = {proc.pid for proc in level}
    return [proc for proc in found if not proc.zombie]


def reap(pid: int) -> int | None:
    """The exit status of a child that has ended (negative: signal), None if it runs or is not ours."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if done else None


def end(procs: list[Proc], grace: float = 5.0) -> None:
    """End these processes: SIGTERM, after `grace` seconds SIGKILL."""
    for number, limit in ((signal.SIGTERM, grace), (signal.SIGKILL, 30.0)):
        for proc in procs:
            proc.signal(number)
        try:
            wait(lambda: not any(proc.alive for proc in procs), limit, f"end of {[str(p) for p in procs]}")
            break
        except TimedOut:
            if number == signal.SIGKILL:
                raise
    for proc in procs:
        reap(proc.pid)


class Service:
    """A program that runs in the foreground beside the test, with its output in a file."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.command, self.log, self.env = command, log, env or {}
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **self.env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen else None

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._popen is None:
            return
        if self._popen.poll() is None:
            self._popen.send_signal(number)
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait(10)
        self._popen = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)


class OneService:
    """Something that is one service while it runs."""

    _service: Service | None = None

    @property
    def pid(self) -> int | None:
        return self._service.pid if self._service else None

    def stop(self) -> None:
        if self._service:
            self._service.stop()

    def kill(self) -> None:
        """SIGKILL: from now on connections are refused."""
        if self._service:
            self._service.kill()


def reap_orphans() -> None:
    """Collect dead processes that were adopted; those that subprocess waits for have been collected before."""
    for proc in _below({os.getpid()}, _parents()):
        if proc.zombie:
            reap(proc.pid)
