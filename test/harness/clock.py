"""Another time for a server, by libfaketime: where a certificate of a short life will not do."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from .httpd import Httpd
from .module import Missing
from .sandbox import Sandbox

_PLACES = [Path("/usr/lib"), Path("/usr/local/lib")]


class Clock:
    """The clock of servers that were attached before they started. It can be set while they run."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._file = sandbox.write("clock", "+0\n")

    def attach(self, httpd: Httpd) -> Clock:
        """Make the server, all its restarts and its commands live by this clock."""
        httpd.env |= {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            # Read the file at every call, so that a change is seen at once.
            "FAKETIME_NO_CACHE": "1",
            # Time-outs go on in real time.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return self

    def shift(self, **offset: float) -> Clock:
        """Set the distance to real time, as for `timedelta`: `shift(days=60)`, `shift(hours=-1)`."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{timedelta(**offset).total_seconds():+.0f}\n")
        os.replace(new, self._file)
        return self


def _library() -> Path:
    for place in _PLACES:
        if found := next(place.glob("**/faketime/libfaketimeMT.so.1"), None):
            return found
    raise Missing("libfaketime is missing: run `make deps`, or install faketime")
