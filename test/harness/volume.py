"""A small file system for a store: full or read-only when a test wants it."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

_PAGE = 4096


class Volume:
    """A tmpfs, mounted on a directory that is made for it."""

    def __init__(self, path: Path, kib: int) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=755", "mod_md-tests", str(path))
        self._mounts = 1

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> Volume:
        """Leave no room for a single byte."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while file.write(bytes(_PAGE)):
                    pass
            except OSError as full:
                if full.errno != errno.ENOSPC:
                    raise
        return self

    def free(self) -> Volume:
        """Undo `fill`."""
        self._ballast.unlink()
        return self

    def read_only(self) -> Volume:
        """Makes the volume read-only. A file that is open for writing, as a lock is, keeps the tmpfs itself from that."""
        _run("mount", "--bind", str(self.path), str(self.path))
        self._mounts += 1
        _run("mount", "-o", "remount,bind,ro", str(self.path))
        return self

    def writable(self) -> Volume:
        """Undo `read_only`."""
        self._unmount()
        return self

    def close(self) -> None:
        while self._mounts:
            self._unmount()

    def _unmount(self) -> None:
        self._mounts -= 1
        _run("umount", "--lazy", str(self.path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
