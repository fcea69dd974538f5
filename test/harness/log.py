"""The server's error log: every warning has to be announced by the test."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(
    r"^\[[^]]+\] \[(?P<module>\w+):(?P<level>\w+)\] \[pid (?P<pid>\d+)[^]]*\] (?P<text>.*)$", re.S
)
_WATCHED = {"md", "ssl", "core", "watchdog"}
_USUAL = ("MD0092", "and new ones wait for a restart")
# Lines of mod_ssl and the core that tell of the machine, not of this module. The MPMs' lines are not watched at all.
_MACHINE = {
    "AH00112": "a DocumentRoot is missing",
    "AH00547": "a host name of the configuration is unknown to the resolver",
    "AH00556": "the machine has no host name",
    "AH00557": "the machine's host name is unknown to its resolver",
    "AH00558": "the machine's host name has no domain",
    "AH01597": "a file of MIME types is missing",
    "AH01882": "libssl is older than the one that mod_ssl was compiled with",
    "AH02155": "the server's user has no entry in the user database",
    "AH02172": "a resource limit cannot be read",
    "AH02638": "the kernel does not take SO_REUSEPORT",
}
_SERIOUS = {"warn", "error", "crit", "alert", "emerg"}
# A child that died is only a notice to httpd.
_CRASH = re.compile(r"AH0005[012]:|exit signal")


@dataclass(frozen=True)
class Line:
    """A line of the log; a line that httpd did not format (a panic, output of a library) has no module."""

    raw: str
    module: str = ""
    level: str = ""
    pid: int = 0
    text: str = ""

    @classmethod
    def parse(cls, raw: str) -> Line:
        if raw.startswith("{"):
            return cls._of_json(raw)
        found = _LINE.match(raw)
        if not found:
            return cls(raw, text=raw)
        return cls(raw, found["module"], found["level"], int(found["pid"]), found["text"])

    @classmethod
    def _of_json(cls, raw: str) -> Line:
        """A line of an ErrorLogFormat in JSON; if it is none, it has no module, either."""
        try:
            members = json.loads(raw)
        except ValueError:
            return cls(raw, text=raw)
        return cls(raw, members["module"], members["level"], int(members["pid"]), members["text"])

    @property
    def is_complaint(self) -> bool:
        """Whether a test has to announce the line: it is a warning, a crash or unformatted, and not of the machine."""
        if not self.module:
            return True
        if any(self.has(number) for number in _MACHINE):
            return False
        return (self.module in _WATCHED and self.level in _SERIOUS) or bool(_CRASH.search(self.text))

    def has(self, what: str) -> bool:
        """`what` is a message number (`AH10045`, `MD0001`) or any part of the line."""
        return f"{what}:" in self.raw if re.fullmatch(r"(AH|MD)\d+", what) else what in self.raw

    def __str__(self) -> str:
        return self.raw


@dataclass
class Announcement:
    what: str
    optional: bool = False


@dataclass
class Log:
    """The error log of one server, over all its restarts."""

    path: Path
    # Warnings of what is usual in tests: nobody has agreed to the terms of a CA that is not asked, and certificates of a few hours.
    _announced: list[Announcement] = field(default_factory=lambda: [Announcement(what, optional=True) for what in _USUAL])
    _console: list[Line] = field(default_factory=list)
    _read: list[Line] = field(default_factory=list)
    _offset: int = 0

    def expects(self, *what: str, optional: bool = False) -> None:
        """Announce warnings by number or phrase, before or after they come.

        An announcement that never comes true fails the test too, unless it is optional.
        """
        self._announced += [Announcement(each, optional) for each in what]

    def add_console(self, text: str) -> None:
        """Take in what the server wrote to the terminal before its log was open."""
        lines = (Line.parse(raw) for raw in text.splitlines())
        self._console += [line for line in lines if line.module]

    @property
    def lines(self) -> list[Line]:
        """All lines so far, without one that is still being written."""
        self._catch_up()
        return self._console + self._read

    def _catch_up(self) -> None:
        """Read what was appended: a log is asked often, and one of a long run is large."""
        try:
            with self.path.open("rb") as log:
                log.seek(self._offset)
                whole = log.read().rpartition(b"\n")[0]
        except FileNotFoundError:
            return
        if whole:
            self._offset += len(whole) + 1
            self._read += [Line.parse(raw) for raw in whole.decode(errors="replace").split("\n") if raw]

    def find(self, what: str) -> list[Line]:
        return [line for line in self.lines if line.has(what)]

    def count(self, what: str) -> int:
        return len(self.find(what))

    @property
    def unannounced(self) -> list[Line]:
        """Lines at warn or above of md, ssl and core, crashes and unformatted output that no test announced."""
        lines = (line for line in self.lines if line.is_complaint)
        return [line for line in lines if not any(line.has(each.what) for each in self._announced)]

    @property
    def never_came(self) -> list[str]:
        """Announcements that no line fulfilled."""
        lines = self.lines
        due = (each.what for each in self._announced if not each.optional)
        return [what for what in due if not any(line.has(what) for line in lines)]

    def tail(self, count: int = 60) -> str:
        return "\n".join(map(str, self.lines[-count:]))
