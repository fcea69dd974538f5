"""The command line that is built beside the module."""

from __future__ import annotations

import subprocess

from .module import BUILD, Missing


def a2md(*args: str) -> subprocess.CompletedProcess[str]:
    """Run `a2md` with these arguments: `.returncode`, `.stdout`, `.stderr`."""
    path = BUILD / "a2md"
    if not path.exists():
        raise Missing(f"{path} is missing: run `make build`")
    return subprocess.run([path, *args], capture_output=True, text=True, timeout=60)
