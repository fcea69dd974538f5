"""The harness: a test fails for what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import process
from harness.module import Module
from harness.wait import wait
from harness.world import Complaints, World

_TESTS = '''
import subprocess, pytest

def test_clean(lone_httpd):
    lone_httpd.start()

def test_warning(lone_httpd):
    lone_httpd.config.md("nowhere.example.org")
    lone_httpd.start()

def test_announced(lone_httpd):
    lone_httpd.config.md("nowhere.example.org")
    lone_httpd.log.expects("AH10045")
    lone_httpd.start()

def test_never_came(lone_httpd):
    lone_httpd.log.expects("AH10056")
    lone_httpd.start()

def test_leak(world):
    subprocess.Popen(["sleep", "300"], start_new_session=True)

def test_broken(lone_httpd):
    lone_httpd.start()
    assert False
'''


def test_world_fails_a_test_for_what_it_did_not_announce(world: World) -> None:
    here = Path(__file__).parent
    folder = world.sandbox.root / "inner"
    folder.mkdir()
    file = folder / "test_inner.py"
    file.write_text(_TESTS)
    command = [sys.executable, "-m", "pytest", "-c", str(here / "pytest.ini"), "-p", "conftest", "-rA", str(file)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(here), "TMPDIR": str(folder)}
    )
    outcomes = dict(line.split()[:2][::-1] for line in done.stdout.splitlines() if line.startswith(("PASSED", "FAILED")))
    names = {key.rpartition("::")[2]: outcome for key, outcome in outcomes.items()}
    assert names == {
        "test_clean": "PASSED",
        "test_warning": "FAILED",
        "test_announced": "PASSED",
        "test_never_came": "FAILED",
        "test_leak": "FAILED",
        "test_broken": "FAILED",
    }, done.stdout
    assert "unannounced: " in done.stdout and "AH10045" in done.stdout
    assert "announced, but never came: AH10056" in done.stdout
    assert "left running: " in done.stdout and "sleep 300" in done.stdout
    # What fails is kept for a look, what passes is removed.
    kept = {path.name.rsplit("-", 1)[0] for path in folder.glob("mod_md-*-*")}
    assert kept == {"mod_md-warning", "mod_md-never_came", "mod_md-leak", "mod_md-broken"}


def test_world_ends_a_leaked_process_and_names_it(world: World) -> None:
    subprocess.run("setsid sleep 301 & setsid sleep 302 &", shell=True, check=True)
    wait(lambda: len(_sleepers()) == 2)
    found = world.complaints()
    assert sorted(line.split()[-1] for line in found) == ["301", "302"]
    assert not _sleepers()


def _sleepers() -> list[process.Proc]:
    return [proc for proc in process.descendants() if proc.command in ("sleep 301", "sleep 302")]


def test_world_reports_crashes_and_cores(world: World) -> None:
    httpd = world.httpd().start()
    # Where the kernel puts real cores is the machine's choice.
    (world.sandbox.cores / "core.1").touch()
    httpd.children()[0].signal(signal.SIGSEGV)
    httpd.wait_log("AH00051")
    with pytest.raises(Complaints, match="(?s)unannounced: .*AH00051.*core: .*/cores/core.1") as complaints:
        world.finish()
    assert "Segmentation fault" in str(complaints.value)


def test_world_notices_a_server_that_ended_by_itself(world: World) -> None:
    httpd = world.httpd().start()
    assert httpd.parent
    httpd.parent.signal(signal.SIGTERM)
    wait(lambda: not httpd.running)
    assert world.complaints() == ["httpd ended by itself"]


def test_world_keeps_the_ports_of_two_worlds_apart() -> None:
    worlds = [World(f"apart-{number}", Module.under_test()) for number in range(2)]
    try:
        for world in worlds:
            world.httpd(world.pebble()).start()
        assert len({world.http_port for world in worlds} | {world.https_port for world in worlds}) == 4
        for world in worlds:
            world.finish()
    finally:
        for world in worlds:
            world.close()
            world.remove()
