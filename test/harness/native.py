"""Programs and libraries in C that run beside httpd or inside it: `test/native`."""

from __future__ import annotations

import subprocess
from pathlib import Path

NATIVE = Path(__file__).resolve().parents[1] / "native"
COMPILE = ["cc", "-O2", "-Wall", "-Wextra", "-Werror"]


def build(source: str, target: Path, *options: str) -> Path:
    """Compile a file of `test/native`."""
    subprocess.run([*COMPILE, "-o", str(target), str(NATIVE / source), *options], check=True)
    return target


def library(source: str, folder: Path, *options: str) -> Path:
    """Compile it to be preloaded."""
    return build(source, folder / f"{Path(source).stem}.so", "-shared", "-fPIC", *options)
