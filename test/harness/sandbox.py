"""The directory of one server: its store, logs and documents, with a name for every path that tests look at."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "www-data"
_OPEN_OR_WRITE = 'while IFS= read -r path; do if [ -r "$path" ] || [ -w "$path" ]; then printf "%s\\n" "$path"; fi; done'


@dataclass(frozen=True)
class Access:
    """Mode and owner of a path; compares and prints as `0755 root`."""

    mode: int
    owner: str

    @classmethod
    def of(cls, path: Path) -> Access:
        stat = path.lstat()
        return cls(stat.st_mode & 0o7777, pwd.getpwuid(stat.st_uid).pw_name)

    def __str__(self) -> str:
        return f"{self.mode:04o} {self.owner}"


class Sandbox:
    """A temporary directory that the server's user can enter."""

    def __init__(self, name: str = "test") -> None:
        self.root = Path(tempfile.mkdtemp(prefix=f"mod_md-{name[:40]}-"))
        self.root.chmod(0o755)
        for folder in (self.logs, self.run, self.docs, self.conf.parent):
            folder.mkdir()
        self.cores.mkdir()
        self._give(self.cores)

    @property
    def conf(self) -> Path:
        return self.root / "conf" / "httpd.conf"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def error_log(self) -> Path:
        return self.logs / "error_log"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def docs(self) -> Path:
        return self.root / "docs"

    @property
    def cores(self) -> Path:
        return self.root / "cores"

    @property
    def store(self) -> Path:
        """MDStoreDir."""
        return self.root / "md"

    def domains(self, md: str = "") -> Path:
        return self.store / "domains" / md

    def staging(self, md: str = "") -> Path:
        return self.store / "staging" / md

    def archive(self, md: str = "") -> Path:
        """The archive, or with a domain and number (`a.example.org.1`) one set of it."""
        return self.store / "archive" / md

    def accounts(self, account: str = "") -> Path:
        return self.store / "accounts" / account

    def challenges(self, name: str = "") -> Path:
        return self.store / "challenges" / name

    def put_challenge(self, name: str, file: str, text: str) -> None:
        """Write data of a challenge, as a renewal in a child does."""
        self.challenges(name).mkdir(exist_ok=True)
        path = self.challenges(name) / file
        path.write_text(text)
        self._give(path)

    def active(self, md: str = "") -> Path:
        return self.store / "active" / md

    def locks(self, md: str = "") -> Path:
        return self.store / "locks" / md

    def tmp(self, md: str = "") -> Path:
        return self.store / "tmp" / md

    def ocsp(self, md: str = "") -> Path:
        return self.store / "ocsp" / md

    def renewals(self) -> list[str]:
        """Domains that have a renewal in staging, and not only what the CA suggests about one."""
        return sorted(path.parent.name for path in self.staging().glob("*/md.json"))

    def job(self, md: str, group: str = "staging") -> dict[str, Any]:
        """job.json of a domain, or {} if there is none."""
        return _json(self.store / group / md / "job.json")

    def md_json(self, md: str, group: str = "domains") -> dict[str, Any]:
        """md.json of a domain, or {} if there is none."""
        return _json(self.store / group / md / "md.json")

    def account_ids(self) -> list[str]:
        """Names of the directories below accounts/."""
        return sorted(path.name for path in self.accounts().glob("*"))

    def tree(self) -> dict[str, Access]:
        """Every path of the store, relative to it (`.` is the store), with its mode and owner."""
        found = {}
        for path in [self.store, *sorted(self.store.rglob("*"))]:
            # A running server may rename or remove what was listed.
            with contextlib.suppress(FileNotFoundError):
                found[str(path.relative_to(self.store))] = Access.of(path)
        return found

    def locked(self) -> set[Path]:
        """Files and directories of the store that some process has locked now."""
        held = {line.split()[5].rpartition(":")[2] for line in Path("/proc/locks").read_text().splitlines() if "->" not in line}
        return {path for path in [self.store, *self.store.rglob("*")] if str(_inode(path)) in held}

    def open_to(self, user: str) -> set[Path]:
        """Files of the store that this user can open, and folders where they can make files."""
        paths = "".join(f"{path}\n" for path in [self.store, *self.store.rglob("*")])
        who = pwd.getpwnam(user)
        done = subprocess.run(
            ["/bin/sh", "-c", _OPEN_OR_WRITE],
            input=paths,
            capture_output=True,
            text=True,
            check=True,
            user=who.pw_uid,
            group=who.pw_gid,
            extra_groups=[],
        )
        return {Path(line) for line in done.stdout.splitlines()}

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file below the sandbox."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def writable(self, name: str) -> Path:
        """A directory that the server's user can write to, made on first use."""
        folder = self.root / name
        if not folder.exists():
            folder.mkdir()
            self._give(folder)
        return folder

    @contextlib.contextmanager
    def claim(self, md: str) -> Iterator[Path]:
        """Be the one who works on a domain: nobody else does as long as this lasts. Gives its staging directory."""
        folder, file, new = self.staging(md), self.locks(md), self.locks(f"{md}.mine")
        self.locks().mkdir(mode=0o700, exist_ok=True)
        self._give(self.locks())
        while True:
            # The server's user has to be able to open it as soon as it is there.
            new.touch(mode=0o600)
            self._give(new)
            with contextlib.suppress(FileExistsError):
                file.hardlink_to(new)
            new.unlink()
            with contextlib.suppress(FileNotFoundError), file.open("r+") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if file.exists() and os.path.samestat(os.fstat(handle.fileno()), file.stat()):
                    if not folder.exists():
                        folder.mkdir()
                        self._give(folder)
                    yield folder
                    file.unlink()
                    return

    def save_store(self) -> Path:
        """A copy of the store with all owners, modes and times."""
        copy = Path(tempfile.mkdtemp(prefix="store-", dir=self.root))
        _copy(self.store, copy)
        return copy

    def restore_store(self, copy: Path) -> None:
        """Put a copy in the place of the store."""
        self.remove_store()
        _copy(copy, self.store)

    def remove_store(self) -> None:
        """Forget everything the module has stored."""
        shutil.rmtree(self.store)

    def execute(self, program: Path, *args: str | Path, **env: str) -> None:
        """Run a program as the administrator does, and fail if it does."""
        subprocess.run([program, *args], env={**os.environ, **env}, check=True, timeout=60)

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    @staticmethod
    def _give(folder: Path) -> None:
        user = pwd.getpwnam(USER)
        os.chown(folder, user.pw_uid, user.pw_gid)


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--archive", "--no-target-directory", str(source), str(target)], check=True, timeout=60)


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except FileNotFoundError:
        return 0


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
