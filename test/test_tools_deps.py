"""Tests of test/tools/deps.sh where it cannot install anything, and where nothing is missing."""
import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent


@pytest.fixture
def deps(tmp_path):
    """Runs deps.sh for `make build` or for the tests, with programs replaced by these scripts."""
    def run(purpose="build", **programs):
        for name, script in programs.items():
            path = tmp_path / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.run([TOP / "test/tools/deps.sh", purpose], env=env, capture_output=True, text=True)
    return run


@pytest.mark.parametrize("purpose", ["build", "test"])
def test_does_nothing_when_nothing_is_missing(deps, purpose):
    done = deps(purpose, apt_get="echo apt-get was called; exit 1", openssl="echo OpenSSL 9.0.0 1 Jan 2026")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_says_what_is_missing_and_the_command_to_whoever_is_not_root(deps):
    done = deps(pkg_config="exit 1", id="echo 1000", apt_get="echo apt-get was called")
    assert done.returncode == 1
    assert done.stdout == "Missing: OpenSSL headers, curl headers\n"
    assert "sudo apt-get update && sudo apt-get install --no-install-recommends libssl-dev libcurl4-openssl-dev" in done.stderr


@pytest.mark.parametrize("user", [0, 1000])
def test_refuses_a_rust_that_is_too_old_here_and_in_the_distribution(deps, user):
    done = deps(rustc="echo rustc 1.63.0", apt_cache="echo '  Candidate: 1.63.0+dfsg1-2'", apt_get="exit 0", id=f"echo {user}")
    assert done.returncode == 1
    assert done.stdout.startswith("Missing: Rust 1.85 or newer\n")
    assert "this distribution has 1.63.0" in done.stderr
    assert "apt-get install" not in done.stderr


def test_takes_the_newer_rust_among_the_updates_of_a_distribution(deps):
    policy = """case $2 in rustc) echo '  Candidate: 1.63.0+dfsg1-2' ;; rustc-web) echo '  Candidate: 1.96.0+dfsg1-1' ;; esac"""
    done = deps(rustc="echo rustc 1.63.0", apt_cache=policy, apt_get="exit 0", id="echo 1000")
    assert done.stderr.endswith("apt-get install --no-install-recommends cargo-web rustc-web\n")


def test_does_not_judge_a_distribution_whose_lists_were_never_fetched(deps):
    done = deps(rustc="echo rustc 1.63.0", apt_cache="exit 0", apt_get="exit 0", id="echo 1000")
    assert done.stderr.endswith("apt-get install --no-install-recommends cargo rustc\n")


def test_building_needs_nothing_of_the_tests(deps):
    done = deps("build", strace="exit 1", python3="exit 1", apt_get="echo apt-get was called; exit 1")
    assert (done.returncode, done.stdout) == (0, "")


OLD = {
    "openssl": "echo 'OpenSSL 3.0.1 1 Jan 2022 (Library: OpenSSL 3.0.1 1 Jan 2022)'",
    "dpkg_query": "echo 'libssl3:amd64 installed'",
    "apt_get": 'echo "apt-get $*"',
    "id": "echo 0",
}


def test_brings_the_libssl_that_the_server_was_built_with(deps):
    done = deps("test", **OLD)
    assert (done.returncode, done.stderr) == (0, "apt-get -q update\n")
    assert done.stdout == "apt-get -qy install --no-install-recommends libssl3:amd64\n"


@pytest.mark.parametrize("change", [{"apt_mark": "echo libssl3"}, {"id": "echo 1000"}], ids=["held back", "not root"])
def test_goes_on_with_an_old_libssl_that_has_to_stay(deps, change):
    done = deps("test", **(OLD | change))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
