"""`make install` and `make uninstall`: what they put where, and what they leave alone."""
import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
MODULE = "usr/lib/apache2/modules/mod_md_rs.so"
A2MD, MAN = "usr/local/bin/a2md", "usr/local/share/man/man8/a2md.8"
LOAD, CONF = "etc/apache2/mods-available/md_rs.load", "etc/apache2/mods-available/md_rs.conf"

# An apxs of a Debian, whatever this system is; what it copies, the real one copies.
APXS = """#!/bin/sh
case "$*" in
    "-q LIBEXECDIR") echo /usr/lib/apache2/modules ;;
    "-q SYSCONFDIR") echo {etc} ;;
    *) exec {apxs} "$@" ;;
esac
"""


class Target:
    """A DESTDIR and the tools in PATH that decide what goes there."""

    def __init__(self, tmp_path):
        self.root, self.bin = tmp_path / "root", tmp_path / "bin"
        self.bin.mkdir()
        self.etc = tmp_path / "etc/apache2"
        (self.etc / "mods-available").mkdir(parents=True)
        real = subprocess.run(["which", "apxs"], check=True, capture_output=True, text=True).stdout.strip()
        self.tool("apxs", APXS.format(etc=self.etc, apxs=real))

    def tool(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, verb):
        env = os.environ | {"PATH": f"{self.bin}:{os.environ['PATH']}", "DESTDIR": str(self.root), "PREFIX": "/usr/local", "APXS": "apxs"}
        return subprocess.run([TOP / "test/tools/install.sh", verb], env=env, capture_output=True, text=True)

    def files(self):
        return {str(path.relative_to(self.root)).replace(f"{self.etc}"[1:], "etc/apache2") for path in self.root.rglob("*") if path.is_file()}

    def path(self, name):
        return self.root / name.replace("etc/apache2", f"{self.etc}"[1:])


@pytest.fixture
def target(tmp_path):
    return Target(tmp_path)


def test_installs_its_files_under_names_of_its_own_and_removes_them(target):
    done = target.run("install")
    assert done.returncode == 0, done.stderr
    assert target.files() == {MODULE, A2MD, MAN, LOAD, CONF}
    assert target.path(MODULE).read_bytes() == (TOP / "build/mod_md.so").read_bytes()
    assert target.path(MODULE).stat().st_mode & 0o777 == 0o644
    assert target.path(A2MD).stat().st_mode & 0o777 == 0o755
    assert target.path(MAN).read_bytes() == (TOP / "docs/a2md.8").read_bytes()
    assert "LoadModule md_module" in target.path(LOAD).read_text()
    assert "a2dismod md; a2enmod md_rs" in done.stdout
    assert target.run("uninstall").returncode == 0
    assert target.files() == set()


def test_installs_over_itself(target):
    assert target.run("install").returncode == 0
    assert target.run("install").returncode == 0
    assert target.files() == {MODULE, A2MD, MAN, LOAD, CONF}


def test_leaves_an_edited_configuration_alone(target):
    target.run("install")
    target.path(CONF).write_text("MDContactEmail me@example.org\n")
    assert "kept" in target.run("install").stdout
    assert target.path(CONF).read_text() == "MDContactEmail me@example.org\n"
    assert "kept" in target.run("uninstall").stdout
    assert target.files() == {CONF}


@pytest.mark.parametrize("owned", [MODULE, A2MD, MAN, LOAD, CONF])
@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_changes_nothing_where_a_package_owns_a_file(target, owned, verb):
    target.path(owned).parent.mkdir(parents=True)
    target.path(owned).write_text("the package's")
    target.tool("dpkg-query", f'#!/bin/sh\n[ "$2" = {target.path(owned)} ] && echo "some-package: $2"\n')
    done = target.run(verb)
    assert done.returncode == 1
    assert f"{target.path(owned)} belongs to a package (some-package" in done.stderr
    assert target.files() == {owned}
    assert target.path(owned).read_text() == "the package's"


def test_does_not_uninstall_what_is_switched_on(target):
    target.run("install")
    enabled = Path(str(target.path(LOAD)).replace("mods-available", "mods-enabled"))
    enabled.parent.mkdir()
    enabled.symlink_to(target.path(LOAD))
    done = target.run("uninstall")
    assert done.returncode == 1
    assert "a2dismod md_rs" in done.stderr
    assert target.path(MODULE).exists()


def test_tells_the_line_to_write_where_there_is_no_mods_available(target):
    (target.etc / "mods-available").rmdir()
    done = target.run("install")
    assert "LoadModule md_module /usr/lib/apache2/modules/mod_md_rs.so" in done.stdout
    assert target.files() == {MODULE, A2MD, MAN}
