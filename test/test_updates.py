"""Updates: another file takes the place of the module while the server runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.httpd import Httpd
from harness.module import REPO, Module
from harness.pebble import Pebble
from harness.process import Proc
from harness.sandbox import Sandbox

NAME = "updated.example.org"


def mapped(proc: Proc, file: Path) -> set[tuple[int, bool]]:
    """The inodes that the process has mapped by this name, and whether each is deleted: needrestart looks for those."""
    lines = (line.split(maxsplit=5) for line in Path(f"/proc/{proc.pid}/maps").read_text().splitlines())
    known = [(int(line[4]), line[5]) for line in lines if len(line) == 6]
    return {(inode, path.endswith(" (deleted)")) for inode, path in known if path.removesuffix(" (deleted)") == str(file)}


def renamed(new: Path, file: Path) -> None:
    """As dpkg and rpm do."""
    shutil.copy(new, f"{file}.new")
    os.replace(f"{file}.new", file)


def installed(new: Path, file: Path) -> None:
    """As `make install` does."""
    subprocess.run(["install", "-m", "644", new, file], check=True)


@pytest.mark.parametrize("way", [renamed, installed])
def test_a_module_that_is_replaced_is_used_from_the_next_graceful_restart_on(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, way: object
) -> None:
    file = sandbox.root / "modules" / "mod_md_rs.so"
    file.parent.mkdir()
    shutil.copy(httpd.module.path, file)
    httpd.use(Module("ours", file))
    httpd.config.add("MDActivation live").managed(NAME)
    httpd.start()
    former = file.stat().st_ino
    assert callable(way)
    way(Module.named("panicking").path, file)
    # The server goes on with the file that it has, and its renewals, too.
    httpd.wait(lambda: httpd.get(f"https://{NAME}/").status == 200, what="a certificate")
    assert httpd.parent
    assert mapped(httpd.parent, file) == {(former, True)}
    httpd.graceful()
    new = file.stat().st_ino
    for proc in (httpd.parent, *httpd.children()):
        assert mapped(proc, file) == {(new, False)}, proc
    assert httpd.served(NAME, ca=pebble.root).verified
    httpd.graceful()
    assert httpd.served(NAME, ca=pebble.root).verified


DOCUMENTS = REPO / "test/fixtures/store-3.0.json"


def members(value: object, path: str = "") -> dict[str, str]:
    """The type of each member of a document, by its path; all elements of a list have one."""
    if isinstance(value, dict):
        return {known: kind for name, member in value.items() for known, kind in members(member, f"{path}.{name}").items()}
    if isinstance(value, list):
        return {known: kind for member in value for known, kind in members(member, f"{path}[]").items()} or {f"{path}[]": "empty"}
    return {path: type(value).__name__.replace("float", "int")}


def add_documents(found: dict[str, dict[str, str]], store: Path) -> None:
    """Adds the members of each kind of document in the store."""
    for file in sorted(store.rglob("*.json")):
        parts = file.relative_to(store).parts
        kind = "/".join(["*" if 0 < at < len(parts) - 1 else part for at, part in enumerate(parts)])
        found.setdefault(kind, {}).update(members(json.loads(file.read_text())))


def test_documents_only_gain_members_so_that_the_former_version_reads_them(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox
) -> None:
    """Who goes back to the version before finds all that it knows, with the types that it knows. MD_RECORD=1 writes them down."""
    broken = "broken.example.org"
    httpd.config.add("MDActivation live").managed(NAME).managed(broken)
    pebble.dns.set_a(broken, "127.0.0.9")
    httpd.log.expects("AH10056", optional=True)
    httpd.start()
    httpd.wait(lambda: httpd.get(f"https://{NAME}/").status == 200, what="a certificate")
    httpd.wait(lambda: (httpd.md_status(broken).get("renewal") or {}).get("errors", 0) > 0, what="a failure")
    written: dict[str, dict[str, str]] = {}
    add_documents(written, sandbox.store)
    httpd.graceful()
    add_documents(written, sandbox.store)
    if os.environ.get("MD_RECORD"):
        DOCUMENTS.write_text(json.dumps(written, indent=1) + "\n")
    for kind, known in json.loads(DOCUMENTS.read_text()).items():
        for path, type_ in known.items():
            assert written[kind].get(path) == type_, (kind, path, written[kind])
