"""`make dist`: the files of a release are the same wherever they are made, and a build from them needs no network."""
import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}


def run(*command, **settings):
    cwd = settings.pop("cwd", None)
    done = subprocess.run(command, env=os.environ | GIT | settings, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dist(checkout, umask):
    """Both files of a release, made in that checkout."""
    run("bash", "-c", f"umask {umask}; exec test/tools/dist.sh", cwd=checkout, XZ_PRESET="-0")
    made = sorted((checkout / "build/dist").iterdir())
    assert [file.name.partition("-")[0] for file in made] == ["mod_md_rs"] * 2
    return made


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout with one commit of the sources as they are here, which need not be a checkout themselves."""
    folder = tmp_path_factory.mktemp("dist") / "first"
    git = ["git", f"--git-dir={folder}/.git", f"--work-tree={TOP}"]
    run("git", "init", "-q", folder)
    run(*git, "add", "-A")
    run(*git, "-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "-q", "-m", "All")
    run("git", "reset", "-q", "--hard", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def release(checkout):
    return dist(checkout, "022")


def test_one_commit_gives_the_same_files_in_every_folder(checkout, release, tmp_path):
    other = tmp_path / "a folder elsewhere"
    run("git", "clone", "-q", checkout, other)
    assert [file.read_bytes() for file in dist(other, "077")] == [file.read_bytes() for file in release]


def test_both_files_together_need_no_network(release, tmp_path):
    """Cargo finds each crate and its features; whether it compiles, `make release-check` tells."""
    vendor, sources = release
    run("tar", "-xf", sources, "-C", tmp_path)
    folder = tmp_path / sources.name.removesuffix(".tar.xz")
    run("tar", "-xf", vendor, "-C", folder)
    offline = ["unshare", "--net"] if os.geteuid() == 0 else []
    command = run("make", "-n", "unittest", cwd=folder)
    assert "--frozen" in command
    run(*offline, "cargo", "fetch", "--config", "vendor/config.toml", "--locked", cwd=folder, CARGO_HOME=str(tmp_path / "cargo"))
