"""Which module httpd loads, and the few places where the two answer differently on purpose."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .http import Response

REPO = Path(__file__).resolve().parents[2]
BUILD = REPO / "build"
SYSTEM_VERSION = b"2.6.10"
# The file below build/, or that of Debian's package, and the verb that makes it.
_FILES = {
    "ours": ("mod_md.so", "build"),
    "system": ("oracle/mod_md.so", "deps"),
    "panicking": ("mod_md_panic.so", "build/mod_md_panic.so"),
    "sanitized": ("mod_md_asan.so", "memcheck"),
    "installed": ("/usr/lib/apache2/modules/mod_md_rs.so", "install"),
}


class Missing(RuntimeError):
    """Something that a test needs is not installed or not built; the text says what to do."""


@dataclass(frozen=True)
class Module:
    """A mod_md.so: `ours`, the C module of the `system`, `panicking`: ours with panics on demand,
    `sanitized`: ours with AddressSanitizer, `installed`: ours of a package, or `none`: no module."""

    name: str
    path: Path

    @classmethod
    def named(cls, name: str) -> Module:
        module = cls(name, BUILD / _FILES[name][0])
        if not module.path.exists():
            raise Missing(f"{module.path} is missing: run `make {_FILES[name][1]}`")
        if name == "system" and SYSTEM_VERSION not in module.path.read_bytes():
            raise Missing(f"{module.path} is not the C module {SYSTEM_VERSION.decode()}: remove it, run `make deps`")
        return module

    @classmethod
    def absent(cls) -> Module:
        """No module at all: httpd as it is, to compare with."""
        return cls("none", Path())

    @classmethod
    def under_test(cls) -> Module:
        """The module that the environment variable MD_UNDER_TEST names, by default ours."""
        name = os.environ.get("MD_UNDER_TEST") or "ours"
        if name not in ("ours", "system", "sanitized", "installed"):
            raise Missing(f"MD_UNDER_TEST={name}: use ours, system, sanitized or installed")
        return cls.named(name)

    @property
    def is_loaded(self) -> bool:
        return self.name != "none"

    @property
    def is_ours(self) -> bool:
        return self.name in ("ours", "panicking", "sanitized", "installed")

    @property
    def env(self) -> dict[str, str]:
        """Variables that the server needs for the module: the sanitizer has to be loaded before everything else."""
        if self.name != "sanitized":
            return {}
        found = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
        # httpd and its libraries keep much until they end. A finding ends the process by a signal, which the log tells.
        options = f"detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=0:log_path={BUILD}/asan"
        return {"LD_PRELOAD": found.stdout.strip(), "ASAN_OPTIONS": options}

    @property
    def usual_warnings(self) -> tuple[str, ...]:
        """Warnings of the server that are no fault of the test, with this module.

        With C mod_ssl answers for the placeholder, and warns; ours answers itself. A child of C that ends in the middle of
        a request to a CA crashes now and then: its thread goes on while OpenSSL is taken down.
        """
        return () if self.is_ours else ("AH10085", "AH00051", "AH00052")

    def assert_placeholder(self, answer: Response) -> None:
        """The answer of an https host before its first certificate: 503, ours with Retry-After."""
        assert answer.status == 503, answer
        assert ("Retry-After" in answer.headers) == self.is_ours, answer.headers
