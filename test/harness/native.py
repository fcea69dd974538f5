"""Programs and libraries in C that run beside httpd or inside it: `test/native`."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def quick_rsa_keys() -> Iterator[None]:
    """Programs that start meanwhile get RSA keys without a search for primes: `rsa_keys.c`.

    For one whose `env` has an empty `RSA_KEYS` OpenSSL generates the keys.
    """
    # The server's user has to be able to read and to count.
    with tempfile.TemporaryDirectory(prefix="mod_md-keys-") as folder:
        Path(folder).chmod(0o755)
        used = Path(folder) / "used"
        used.write_bytes(bytes(4))
        used.chmod(0o666)
        before = dict(os.environ)
        preloaded = [str(library("rsa_keys.c", Path(folder), "-lcrypto")), *before.get("LD_PRELOAD", "").split()]
        os.environ.update(LD_PRELOAD=" ".join(preloaded), RSA_KEYS=str(used))
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
