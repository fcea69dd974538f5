"""The program of `make demo`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.module import Module
from harness.process import Proc
from harness.wait import wait
from harness.world import World

_DEMO = Path(__file__).parent / "demo.py"


def _run(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_DEMO), *args]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "TMPDIR": str(folder), **env}
    )


@pytest.fixture
def folder(world: World) -> Path:
    """A directory for sandboxes below this test's own."""
    folder = world.sandbox.root / "demo"
    folder.mkdir()
    return folder


def test_demo_shows_a_served_certificate_and_leaves_nothing(folder: Path, module: Module) -> None:
    done = _run(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(module.path) in done.stdout
    assert re.search(r"names +demo\.example\.org\n +issuer +Pebble Intermediate CA", done.stdout)
    assert "verified against Pebble's root" in done.stdout
    assert not list(folder.iterdir())


def test_demo_that_is_kept_runs_on_and_another_one_works_beside_it(folder: Path) -> None:
    kept = _run(folder, "--keep")
    assert kept.returncode == 0, kept.stdout + kept.stderr
    found = re.search(r"kill ([\d ]+); rm -r (\S+)", kept.stdout)
    assert found
    servers = [Proc.of(int(pid)) for pid in found[1].split()]
    assert len(servers) == 3 and all(server and server.alive for server in servers)
    assert _run(folder).returncode == 0

    subprocess.run(["sh", "-c", found[0]], check=True)
    wait(lambda: not any(server and server.alive for server in servers), what="end of the demo's servers")
    assert not Path(found[2]).exists()


def test_demo_says_in_one_line_what_is_missing(folder: Path) -> None:
    done = _run(folder, PEBBLE_DIR="/nonexistent")
    assert done.returncode == 1
    assert done.stderr == "demo: pebble-challtestsrv is missing: run `make deps`, or set PEBBLE_DIR to the directory that has it\n"
