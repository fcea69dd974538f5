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


def _start(folder: Path, *args: str, **env: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(_DEMO), *args]
    out = subprocess.PIPE
    return subprocess.Popen(command, stdout=out, stderr=out, text=True, env={**os.environ, "TMPDIR": str(folder), **env})


def _end(demo: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = demo.communicate(timeout=300)
    return subprocess.CompletedProcess(demo.args, demo.returncode, out, err)


def _run(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return _end(_start(folder, *args, **env))


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


def test_demo_shows_what_else_was_logged_as_a_note_and_succeeds(folder: Path) -> None:
    demo = _start(folder)
    log = wait(lambda: next(folder.glob("*/logs/error_log"), None), 60, "the demo's error log")
    with log.open("a") as lines:
        lines.write("[Mon Nov 23 01:58:21.546917 2026] [ssl:warn] [pid 1:tid 1] AH01882: Init: compiled against a newer library\n")
        lines.write("[Mon Nov 23 01:58:21.546917 2026] [core:warn] [pid 1:tid 1] AH09999: something odd\n")
    done = _end(demo)
    assert done.returncode == 0, done.stdout + done.stderr
    notes = [line for line in done.stdout.splitlines() if line.startswith("Note")]
    assert len(notes) == 1 and "AH09999: something odd" in notes[0]
    assert log.exists() and str(log.parent) in done.stdout


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
