"""docs/switching.md, replayed: its commands run against a private copy of Debian's /etc/apache2, with servers that serve."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import process
from harness.httpd import Checked, Httpd, allow_cores
from harness.log import Log
from harness.module import BUILD, REPO, Missing, Module
from harness.pebble import Pebble
from harness.pki import Leaf
from harness.process import Proc
from harness.world import World, acme_defaults

# What example.org becomes: Pebble 2.10 panics at a name of two labels.
NAME = "docs.example.org"
DEBIAN = BUILD / "debian"
TEXT = (REPO / "docs/switching.md").read_text()
ENVVARS = """
export APACHE_RUN_USER=www-data APACHE_RUN_GROUP=www-data APACHE_STARTED_BY_SYSTEMD=1 LANG=C
export APACHE_PID_FILE={run}/httpd.pid APACHE_RUN_DIR={run} APACHE_LOCK_DIR={run} APACHE_LOG_DIR={logs}
"""
LOCAL = """
ServerName server.invalid
CoreDumpDirectory "{cores}"
<Directory "{docs}">
    Require all granted
</Directory>
<VirtualHost *:{admin}>
    ServerName admin.invalid
    <Location "/md-status">
        SetHandler md-status
        Require local
    </Location>
</VirtualHost>
"""
SITE = """
MDomain example.org
<VirtualHost *:80>
    ServerName example.org
    DocumentRoot /var/www/html
</VirtualHost>
<VirtualHost *:443>
    ServerName example.org
    DocumentRoot /var/www/html
    SSLEngine on
</VirtualHost>
"""


class Debian(Httpd):
    """The server of a Debian: run by apachectl, on a copy of its /etc/apache2 that has both modules to choose from."""

    def __init__(self, world: World, pebble: Pebble) -> None:
        base = world.httpd(pebble)
        super().__init__(world.sandbox, Module.named("ours"), base.config.http_port, base.config.https_port, base.config.admin_port)
        world.servers[-1] = self
        box = self.sandbox
        self.etc = box.root / "etc/apache2"
        if not (DEBIAN / "etc/apache2/apache2.conf").exists():
            raise Missing(f"{DEBIAN} is missing: run `make deps`")
        shutil.copytree(DEBIAN / "etc/apache2", self.etc, symlinks=True)
        # The programs and files that it names, such as the one that asks for pass phrases.
        for conf in (self.etc / "mods-available").glob("*.conf"):
            conf.write_text(conf.read_text().replace("/usr/share/apache2/", f"{DEBIAN}/usr/share/apache2/"))
        self.log = Log(box.logs / "error.log")
        self.paths = {
            "example.org": NAME,
            "/etc/": f"{box.root}/etc/",
            "/root/": f"{box.root}/root/",
            "/var/log/apache2/": f"{box.logs}/",
            "/var/www/html": str(box.docs),
            "http://localhost/": f"http://localhost:{base.config.admin_port}/",
            "localhost:443": f"localhost:{base.config.https_port}",
            "*:80>": f"*:{base.config.http_port}>",
            "*:443>": f"*:{base.config.https_port}>",
        }
        for folder in ("root", "etc/ssl/private", "state", *(f"etc/apache2/{kind}-enabled" for kind in ("mods", "conf", "sites"))):
            (box.root / folder).mkdir(parents=True, exist_ok=True)
        (box.docs / "index.html").write_text(NAME)
        ports = (base.config.http_port, base.config.https_port, base.config.admin_port)
        self.put("ports.conf", "\n".join(f"Listen 127.0.0.1:{port}" for port in ports))
        self.put("envvars", ENVVARS.format(run=box.run, logs=box.logs))
        local = LOCAL.format(cores=box.cores, docs=box.docs, admin=base.config.admin_port)
        self.put("conf-enabled/local.conf", local + "<IfModule md_module>\n" + "\n".join(acme_defaults(pebble)) + "\n</IfModule>\n")
        # Its types are in a package of their own.
        self.put("mime.types", "text/html html\n")
        self.put("mods-available/mime.conf", f"TypesConfig {self.etc}/mime.types\n")
        self.put("mods-available/md_rs.conf", (REPO / "conf/md_rs.conf").read_text())
        load = (REPO / "conf/md_rs.load").read_text()
        self.put("mods-available/md_rs.load", re.sub(r"\S+/mod_md_rs\.so", str(self.module.path), load))
        self.put("mods-available/md.load", f"LoadModule md_module {Module.named('system').path}\n")
        (self.etc / "sites-enabled" / f"{NAME}.conf").symlink_to(f"../sites-available/{NAME}.conf")

    def put(self, name: str, text: str) -> None:
        """Write a file of the configuration."""
        (self.etc / name).write_text(text)

    def with_files(self, leaf: Leaf, cert: str, key: str) -> None:
        """Let the site have a certificate of its own, with these files."""
        for source, path in ((leaf.chain_file, cert), (leaf.key_file, key)):
            target = Path(self.here(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        files = f"SSLEngine on\n SSLCertificateFile {cert}\n SSLCertificateKeyFile {key}"
        site = SITE.replace("MDomain example.org\n", "").replace("SSLEngine on", files)
        self.put(f"sites-available/{NAME}.conf", self.here(site))

    def here(self, text: str) -> str:
        """The text with the ports and paths of the sandbox."""
        return re.sub("|".join(map(re.escape, self.paths)), lambda found: self.paths[found[0]], text)

    def enable(self, modules: str) -> Debian:
        """Switch modules on beside those that are always there, before the first start."""
        done = self._shell(f"a2enmod mpm_event authz_core authz_host dir alias {modules}")
        assert done.ok, done.text
        return self

    def sh(self, commands: str) -> str:
        """Run commands as the administrator does; what they say. A restart is waited for."""
        mark, before = self.log.count("resuming normal operations"), self.children()
        self._settle()
        done = self._shell(commands)
        assert done.ok, done.text
        if re.search(r"apachectl (restart|graceful)", commands):
            self.wait(lambda: self.log.count("resuming normal operations") > mark, what="restart")
            self.wait(lambda: not any(proc.alive for proc in before), what="end of the old children")
        return done.text

    def _shell(self, commands: str) -> Checked:
        path = f"{DEBIAN / 'usr/sbin'}:{BUILD}:{os.environ['PATH']}"
        state = self.sandbox.root / "state"
        env = os.environ | {"APACHE_CONFDIR": str(self.etc), "APACHE_STATE_DIRECTORY": str(state), "PATH": path}
        out = self.sandbox.logs / "console"
        with out.open("w+") as console:
            code = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", self.here(commands)],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                timeout=120,
                preexec_fn=allow_cores,
            ).returncode
        return Checked(code == 0, out.read_text(errors="replace"))

    def _run(self, *args: str, stays: bool = False) -> Checked:
        assert not stays, "this server is a daemon"
        checked = self._shell(f"apachectl {args[-1]}" if args[0] == "-k" else f"apachectl {' '.join(args)}")
        self.log.add_console(checked.text)
        return checked

    def _family(self) -> list[Proc]:
        return [proc for proc in process.descendants() if str(self.etc) in proc.command]


@pytest.fixture
def debian(world: World, pebble: Pebble) -> Debian:
    return Debian(world, pebble)


def _steps(debian: Debian, chapter: str) -> Iterator[str]:
    """Carry out the blocks of a chapter one by one; what each command said."""
    blocks = re.findall(rf"^( *)<!-- replay {chapter}(?: (\S+))? -->\n *```\w+\n(.*?)^ *```$", TEXT, re.M | re.S)
    for indent, file, block in blocks:
        text = textwrap.dedent(block)
        if file:
            Path(debian.here(file)).write_text(debian.here(text))
            yield ""
        else:
            yield debian.sh(text)


def test_from_the_c_module_and_back(debian: Debian, pebble: Pebble) -> None:
    store = debian.etc / "md"
    debian.put(f"sites-available/{NAME}.conf", debian.here(SITE))
    debian.log.expects("AH10085", optional=True)
    debian.enable("ssl md").start().wait_staged(NAME)
    debian.sh("apachectl graceful")
    leaf, version = debian.served(NAME).leaf, debian.md_status()["version"]
    accounts = sorted(path.name for path in (store / "accounts").iterdir())

    replay = _steps(debian, "c-module")
    next(replay)
    assert Path(debian.here("/root/md-before/md_store.json")).read_bytes() == (store / "md_store.json").read_bytes()
    next(replay)
    assert debian.md_status()["version"] != version
    seen = next(replay)
    assert "md_module (shared)" in seen
    assert seen.lower().count(leaf.serial.lower()) == 2
    served = debian.served(NAME, ca=pebble.root)
    assert (served.verified, served.leaf) == (True, leaf)
    assert debian.get(f"https://{NAME}/", ca=pebble.root).status == 200
    # Meanwhile ours obtains another one, which C has to take over.
    debian.put("conf-enabled/second.conf", debian.here(SITE.replace("example.org", "second.example.org")))
    debian.sh("apachectl graceful")
    debian.wait_staged(f"second.{NAME}").sh("apachectl graceful")
    second = debian.served(f"second.{NAME}").leaf

    debian.put("conf-enabled/ours.conf", "\n".join(_not_for_c()) + "\nMDActivationDelay 1d\n#MDCmdTimeout 1s\n")
    found = [line.split(":")[2] for line in next(replay).splitlines() if "conf-enabled/ours.conf:" in line]
    assert found == _not_for_c()
    (debian.etc / "conf-enabled/ours.conf").unlink()
    next(replay)
    assert debian.md_status()["version"] == version
    for name, before in ((NAME, leaf), (f"second.{NAME}", second)):
        served = debian.served(name, ca=pebble.root)
        assert (served.verified, served.leaf) == (True, before)
    assert sorted(path.name for path in (store / "accounts").iterdir()) == accounts
    assert (pebble.new_accounts, pebble.new_orders) == (1, 2)
    assert next(replay, None) is None


def _not_for_c() -> list[str]:
    """Lines of a configuration with all that the way back names, but for names and long lines."""
    table = TEXT.split("| Configuration | Effect with the C module |")[1].split("\n\n")[0]
    lines = [line for row in table.splitlines()[2:] for line in re.findall(r"`((?:MD|SetHandler )[^`]+)`", row.split("|")[1])]
    return [line for line in lines if line != "MDCertificateCheck"]


def test_the_way_back_names_all_directives_that_the_c_module_does_not_know(world: World) -> None:
    def known(module: str) -> set[str]:
        httpd = world.httpd().use(Module.named(module))
        return {line.split()[0] for line in httpd.directives().splitlines() if re.match(r"<?MD", line)}

    named = {line for line in _not_for_c() if re.fullmatch(r"MD\w+", line)}
    assert named == known("ours") - known("system")


def test_values_that_the_c_module_takes_and_cannot_do_end_as_the_way_back_says(world: World) -> None:
    httpd = world.httpd(world.pebble(nonce_reject=0)).use(Module.named("system"))
    [proxy, tailscale, persist] = [line for line in _not_for_c() if re.match(r"MD\w+ ", line)]
    httpd.config.add(proxy)
    assert not httpd.configtest().ok
    httpd.config.clear().managed(NAME).add(tailscale)
    assert httpd.configtest().ok
    httpd.log.expects("AH10172", "uses unknown CA protocol", "AH00020", optional=True)
    assert "AH10172" in httpd.fails_to_start()
    httpd.config.clear().managed(NAME).add(persist, "MDRetryDelay 1h", "<Location /page>", "SetHandler md-page", "</Location>")
    httpd.log.expects("AH10056", "None of", "AH10085", "problem[", optional=True)
    httpd.start()
    httpd.wait(lambda: httpd.md_status(NAME).get("renewal", {}).get("last", {}).get("problem") == "challenge-mismatch", what="no challenge")
    assert httpd.get(f"http://{NAME}/page").status == 404


def test_from_certificate_files(debian: Debian, pebble: Pebble, world: World) -> None:
    old = world.pki.ca("Old CA").leaf(NAME, key="rsa2048")
    debian.with_files(old, "/etc/ssl/example.org.pem", "/etc/ssl/private/example.org.key")
    debian.enable("ssl md_rs").start()
    assert debian.served(NAME).leaf.serial == old.certificate.serial

    replay = _steps(debian, "files")
    next(replay)
    next(replay)
    assert debian.served(NAME).leaf.serial == old.certificate.serial
    assert debian.get(f"https://{NAME}/").status == 200
    debian.wait_staged(NAME)
    told = next(replay).splitlines()
    assert len(told) == 1
    assert "AH10059: " in told[0]
    assert debian.served(NAME).leaf.serial == old.certificate.serial
    next(replay)
    served = debian.served(NAME, ca=pebble.root)
    assert served.verified
    assert debian.get(f"https://{NAME}/", ca=pebble.root).status == 200
    assert served.leaf.serial.lower() in next(replay).lower()
    next(replay)
    assert debian.served(NAME).leaf == served.leaf
    next(replay)
    assert debian.served(NAME).leaf.serial == old.certificate.serial
    assert next(replay, None) is None


def test_from_certbot(debian: Debian, pebble: Pebble, world: World) -> None:
    old = world.pki.ca("Old CA").intermediate("Old intermediate").leaf(NAME)
    live = "/etc/letsencrypt/live/example.org"
    debian.with_files(old, f"{live}/fullchain.pem", f"{live}/privkey.pem")
    debian.enable("ssl md_rs").start()
    assert debian.served(NAME).leaf.serial == old.certificate.serial

    replay = _steps(debian, "certbot")
    next(replay)
    next(replay)
    next(replay)
    assert debian.served(NAME).leaf.serial == old.certificate.serial
    assert debian.get(f"https://{NAME}/").status == 200
    assert old.certificate.serial.lower() in next(replay).lower()
    assert not pebble.new_orders
    assert next(replay, None) is None
