"""`make install` and `make uninstall`: what they put where, and what they leave alone."""
import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
A2MD, MAN = "usr/local/bin/a2md", "usr/local/share/man/man8/a2md.8"
OF_COMMANDS = {f"usr/local/share/man/man8/{page.name}" for page in (TOP / "docs/man").iterdir()}
COMPLETIONS = {
    f"usr/local/share/{path}"
    for path in ("bash-completion/completions/a2md", "zsh/site-functions/_a2md", "fish/vendor_completions.d/a2md.fish")
}
# What each layout has, and what goes there: module, what switches it on, settings.
LAYOUTS = {
    "debian": ("/usr/lib/apache2/modules", "/etc/apache2", "mods-available", "mods-available/md_rs.load", "mods-available/md_rs.conf"),
    "fedora": ("/usr/lib64/httpd/modules", "/etc/httpd/conf", "../conf.modules.d", "../conf.modules.d/00-md_rs.conf", "../conf.d/md_rs.conf"),
    "plain": ("/usr/local/apache2/modules", "/usr/local/apache2/conf", ".", None, "extra/md_rs.conf"),
}

# An apxs of that layout; it installs nothing, as apxs -i needs more of a server than headers.
APXS = """#!/bin/sh
case "$*" in
    "-q LIBEXECDIR") echo {modules} ;;
    "-q SYSCONFDIR") echo {etc} ;;
    "-q htdocsdir") echo /usr/local/apache2/htdocs ;;
    *) echo "apxs $*: not expected" >&2; exit 1 ;;
esac
"""


class Target:
    """A DESTDIR and the tools in PATH that decide what goes there."""

    def __init__(self, tmp_path, layout):
        self.root, self.bin = tmp_path / "root", tmp_path / "bin"
        self.bin.mkdir()
        modules, self.etc, self.sign, load, conf = LAYOUTS[layout]
        self.module = f"{modules[1:]}/mod_md_rs.so"
        self.load, self.conf = (name and os.path.normpath(f"{self.etc}/{name}")[1:] for name in (load, conf))
        self.tool("apxs", APXS.format(modules=modules, etc=self.etc))

    @property
    def all(self):
        return {self.module, A2MD, MAN, self.conf} | OF_COMMANDS | COMPLETIONS | ({self.load} if self.load else set())

    def has_a_server(self):
        self.path(f"{self.etc[1:]}/{self.sign}").mkdir(parents=True)

    def tool(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, verb, **settings):
        env = {name: value for name, value in os.environ.items() if name != "LAYOUT"}
        env |= {"PATH": f"{self.bin}:{os.environ['PATH']}", "DESTDIR": str(self.root), "PREFIX": "/usr/local", "APXS": "apxs"}
        return subprocess.run([TOP / "test/tools/install.sh", verb], env=env | settings, capture_output=True, text=True)

    def files(self):
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}

    def path(self, name):
        return Path(os.path.normpath(self.root / name))


@pytest.fixture
def target(tmp_path):
    """A Debian with a server."""
    target = Target(tmp_path, "debian")
    target.has_a_server()
    return target


@pytest.mark.parametrize(("words", "found"), [
    ("dri", {"drive"}),
    ("store rem", {"remove"}),
    ("drive --f", {"--force"}),
    ("status --js", {"--json"}),
])
def test_bash_completes_commands_and_options(words, found):
    last = words.split()[-1]
    complete = f"COMP_WORDS=(a2md {words}); COMP_CWORD={len(words.split())}; _a2md a2md {last} x; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", f". {TOP}/completions/a2md.bash; {complete}"], capture_output=True, text=True)
    assert set(done.stdout.split()) == found, done


@pytest.mark.parametrize("layout", LAYOUTS)
def test_installs_its_files_where_the_server_of_the_target_has_them_and_removes_them(tmp_path, layout):
    target = Target(tmp_path, layout)
    target.has_a_server()
    done = target.run("install")
    assert done.returncode == 0, done.stderr
    assert target.files() == target.all
    assert target.path(target.module).read_bytes() == (TOP / "build/mod_md.so").read_bytes()
    assert target.path(target.module).stat().st_mode & 0o777 == 0o644
    assert target.path(A2MD).stat().st_mode & 0o777 == 0o755
    assert target.path(MAN).read_bytes() == (TOP / "docs/a2md.8").read_bytes()
    if target.load:
        assert f"LoadModule md_module /{target.module}\n" in target.path(target.load).read_text()
    assert target.run("uninstall").returncode == 0
    assert target.files() == set()


def test_the_layout_can_be_chosen_for_a_package_that_is_built_where_there_is_no_server(tmp_path):
    target = Target(tmp_path, "debian")
    done = target.run("install", LAYOUT="debian")
    assert target.files() == target.all, done.stderr
    assert target.run("install", LAYOUT="gentoo").stderr == "LAYOUT=gentoo: use debian, fedora or plain\n"


def test_the_server_of_the_machine_that_builds_does_not_matter(tmp_path):
    """The target has nothing, whatever there is below / here."""
    target = Target(tmp_path, "debian")
    done = target.run("install")
    assert target.load not in target.files(), done.stderr


@pytest.mark.parametrize(("layout", "says"), [
    ("debian", "To switch it on: a2dismod md; a2enmod md_rs; then restart the server.\n"),
    ("fedora", "The next restart of the server switches it on, in place of the C module.\n"),
    ("plain", "  LoadModule md_module /usr/local/apache2/modules/mod_md_rs.so\n  Include /usr/local/apache2/conf/extra/md_rs.conf\n"),
])
def test_tells_how_to_switch_it_on(tmp_path, layout, says):
    assert Target(tmp_path, layout).run("install", LAYOUT=layout).stdout.endswith(says)


def test_the_first_domain_has_the_documents_of_that_server(tmp_path):
    target = Target(tmp_path, "plain")
    target.run("install")
    assert "DocumentRoot /usr/local/apache2/htdocs\n" in target.path(target.conf).read_text()


def test_installs_over_itself(target):
    assert target.run("install").returncode == 0
    assert target.run("install").returncode == 0
    assert target.files() == target.all


def test_leaves_an_edited_configuration_alone(target):
    target.run("install")
    target.path(target.conf).write_text("MDContactEmail me@example.org\n")
    assert "kept" in target.run("install").stdout
    assert target.path(target.conf).read_text() == "MDContactEmail me@example.org\n"
    assert "kept" in target.run("uninstall").stdout
    assert target.files() == {target.conf}


@pytest.mark.parametrize("owned", ["module", "load", "conf", A2MD, MAN])
@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_changes_nothing_where_a_package_owns_a_file(target, owned, verb):
    owned = getattr(target, owned, owned)
    target.path(owned).parent.mkdir(parents=True, exist_ok=True)
    target.path(owned).write_text("the package's")
    target.tool("dpkg-query", f'#!/bin/sh\n[ "$2" = {target.path(owned)} ] && echo "some-package: $2"\n')
    done = target.run(verb)
    assert done.returncode == 1
    assert f"{target.path(owned)} belongs to a package (some-package" in done.stderr
    assert target.files() == {owned}
    assert target.path(owned).read_text() == "the package's"


def test_does_not_uninstall_what_is_switched_on(target):
    target.run("install")
    enabled = Path(str(target.path(target.load)).replace("mods-available", "mods-enabled"))
    enabled.parent.mkdir()
    enabled.symlink_to(target.path(target.load))
    done = target.run("uninstall")
    assert done.returncode == 1
    assert "a2dismod md_rs" in done.stderr
    assert target.path(target.module).exists()
