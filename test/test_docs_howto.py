"""README and the pages of recipes: each configuration is one that httpd takes, and those for every server do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from harness.a2md import A2md, program
from harness.certificate import Certificate
from harness.dns import Dns
from harness.httpd import Httpd
from harness.module import REPO
from harness.pebble import Pebble
from harness.pki import Pki
from harness.sandbox import Sandbox

pytestmark = [pytest.mark.module("ours"), pytest.mark.pebble(nonce_reject=0, authz_reuse=0)]

# Pages of which each chapter has a configuration.
RECIPES = ["howto.md", "recipes-hosts.md", "recipes-proof.md", "recipes-certificates.md", "recipes-operation.md"]
# Directives and switching have tests of their own.
OTHERS = sorted({path.name for path in (REPO / "docs").glob("*.md")} - {*RECIPES, "directives.md", "switching.md"})


def _chapters(page: str) -> list[tuple[str, str, list[str]]]:
    """Page, title, and the configurations of each chapter."""
    text = (REPO / ("README.md" if page == "README.md" else f"docs/{page}")).read_text()
    chapters = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return [(page, title, re.findall(r"^```apache\n(.*?)^```$", body, re.M | re.S)) for title, body in chapters]


CHAPTERS = [chapter for page in RECIPES for chapter in _chapters(page)]
CHAPTERS += [chapter for page in ["README.md", *OTHERS] for chapter in _chapters(page) if chapter[2]]
BLOCKS = {(page, title): blocks for page, title, blocks in CHAPTERS}


@pytest.mark.parametrize(("page", "title"), BLOCKS, ids=lambda each: each.removesuffix(".md"))
def test_the_configurations_of_a_recipe_load(lone_httpd: Httpd, pki: Pki, page: str, title: str) -> None:
    # Commands, roots and ports of the examples are not on this machine.
    lone_httpd.log.expects("AH10045", "AH10173", "MD0006", "MD0061", optional=True)
    # Parts of a configuration are about an agreement that is elsewhere.
    lone_httpd.config.defaults = ["MDCertificateAgreement accepted"]
    lone_httpd.config.load("authz_host")
    assert BLOCKS[page, title], f"{title} has no configuration"
    for block in BLOCKS[page, title]:
        lone_httpd.config.clear().add(*_with_files(block, lone_httpd.sandbox.root / "ssl", pki).splitlines())
        checked = lone_httpd.configtest()
        assert checked.ok, f"{title}: {checked.text}"


def _with_files(block: str, folder: Path, pki: Pki) -> str:
    """The configuration with a certificate and key where it names some of the system."""
    for path in re.findall(r"/etc/ssl/\S+\.(?:pem|key)", block):
        leaf, target = pki.ca().leaf("example.org"), folder / Path(path).name
        folder.mkdir(exist_ok=True)
        shutil.copy(leaf.key_file if path.endswith(".key") else leaf.cert_file, target)
        block = block.replace(path, str(target))
    return block


# Recipes that a certificate authority of the tests can carry out, with the names that must have a certificate in the end.
CARRIED_OUT = [
    ("README.md", "Configure", ["example.org"]),
    ("recipes-hosts.md", "A new host with https", ["example.org"]),
    ("recipes-hosts.md", "https for a host that has http only", ["example.org"]),
    ("recipes-hosts.md", "Phase https in, and redirect", ["example.org"]),
    ("recipes-hosts.md", "Several names for a host", ["example.org", "www.example.org", "forum.example.org"]),
    ("recipes-hosts.md", "One certificate for several hosts", ["example.org", "example.net", "www.example.net"]),
    ("recipes-hosts.md", "A name in the certificate that no host has", ["example.org", "mail.example.org"]),
    ("recipes-hosts.md", "Settings for one domain", ["example.org", "example.net"]),
    ("recipes-hosts.md", "Add, remove, move and rename names", ["example.net", "example.org"]),
    ("recipes-proof.md", "Without port 80", ["example.org"]),
    ("recipes-proof.md", "Choose the challenge type", ["example.org", "example.net"]),
    ("recipes-certificates.md", "Try with the test authority first", ["example.org"]),
    ("recipes-certificates.md", "Keys of two types", ["example.org"]),
    ("recipes-certificates.md", "Learn of revocations quickly", ["example.org"]),
    ("recipes-operation.md", "Restart without thinking of it", ["example.org"]),
    ("recipes-operation.md", "Many domains", ["a.example.org", "b.example.org"]),
]


def _longer(text: str) -> str:
    """Names with three labels: a Pebble with a list of blocked names ends requests for shorter ones."""
    return re.sub(r"\bexample\.(org|net)", r"site.example.\1", text)


def _here(httpd: Httpd, block: str) -> str:
    """The configuration with the ports of the test, its authority, and no protocols that need another module."""
    block = re.sub(r"^MDCertificateAuthority .*\n", "", _longer(block), flags=re.M)
    return _ports(httpd, block).replace("Protocols h2 ", "Protocols ")


def _ports(httpd: Httpd, block: str) -> str:
    return block.replace("*:443", f"*:{httpd.config.https_port}").replace("*:80>", f"*:{httpd.config.http_port}>")


@pytest.mark.parametrize(("page", "title", "names"), CARRIED_OUT, ids=[title for _, title, _ in CARRIED_OUT])
def test_a_recipe_is_carried_out(httpd: Httpd, pebble: Pebble, page: str, title: str, names: list[str]) -> None:
    [block] = BLOCKS[page, title]
    block, names = _here(httpd, block), [_longer(name) for name in names]
    httpd.config.add(*block.splitlines())
    httpd.start()
    if "MDActivation live" in block:
        httpd.wait(lambda: all(httpd.served(name, ca=pebble.root).verified for name in names), what="certificates")
    else:
        httpd.obtain(*re.findall(r"^<?MDomain(?:Set)? ([\w.]+)", block, re.M))
    for name in names:
        served = httpd.served(name, ca=pebble.root)
        assert served.verified and name in served.leaf.names


@pytest.mark.parametrize(
    ("title", "others"),
    [("A wildcard by a command of your own", []), ("A wildcard, and hosts with certificates of their own", ["shop.site.example.org"])],
)
def test_a_recipe_for_a_wildcard_is_carried_out(httpd: Httpd, pebble: Pebble, dns: Dns, title: str, others: list[str]) -> None:
    [block] = BLOCKS["recipes-proof.md", title]
    httpd.config.add(*_here(httpd, block).replace("/opt/md/dns-01", str(dns.command())).splitlines())
    httpd.start().obtain("site.example.org", *others)
    for name in ["site.example.org", "any.site.example.org", *others]:
        served = httpd.served(name, ca=pebble.root)
        assert served.verified
        assert sorted(served.leaf.names) == ([name] if name in others else ["*.site.example.org", "site.example.org"])


def test_a_certificate_that_no_host_uses_is_obtained(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    [block] = BLOCKS["recipes-hosts.md", "A certificate that no host uses"]
    httpd.config.add(*_here(httpd, block).splitlines())
    httpd.log.expects("AH10045", optional=True)
    httpd.start().obtain("mail.site.example.org")
    chain = Certificate.chain(sandbox.domains("mail.site.example.org") / "pubcert.pem")
    assert chain[0].names == ["mail.site.example.org"]


def _commands(page: str, chapter: str) -> list[str]:
    """The blocks of commands in a chapter."""
    text = (REPO / "docs" / page).read_text().split(f"## {chapter}\n")[1].split("\n## ")[0]
    return [textwrap.dedent(block) for block in re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.M | re.S)]


def _run(commands: str, sandbox: Sandbox, **places: Path) -> None:
    """Carry out commands of a page, with this sandbox in place of the system; the server is stopped and started by the test."""
    text = re.sub(r"^systemctl .*\n", "", commands, flags=re.M).replace("a2md ", f"{program()} ")
    for path, here in {"/etc/apache2/md": sandbox.store, "/etc/apache2": sandbox.store.parent, "/root": sandbox.root / "root"}.items():
        text = re.sub(rf"{path}(?=[/ \n])", str(here), text)
    for path, here in places.items():
        text = text.replace(f"/path/to/{path}", str(here))
    env = os.environ | {"A2MD_DIR": str(sandbox.store)}
    subprocess.run(["sh", "-euc", text], check=True, capture_output=True, text=True, timeout=120, env=env)


def test_a_certificate_of_another_server_is_served_from_the_first_start_on(lone_httpd: Httpd, pki: Pki, sandbox: Sandbox) -> None:
    leaf = pki.ca("Former CA").leaf("example.org", key="rsa2048")
    [commands] = _commands("recipes-operation.md", "Come from Caddy or another server")
    _run(commands, sandbox, **{"example.org.key": leaf.key_file, "example.org.crt": leaf.chain_file})
    [block] = BLOCKS["recipes-operation.md", "Come from Caddy or another server"]
    ports = f"MDPortMap http:{lone_httpd.config.http_port} https:{lone_httpd.config.https_port}"
    lone_httpd.config.add(ports, "MDCertificateAuthority https://localhost:1/dir", *_ports(lone_httpd, block).splitlines())
    served = lone_httpd.start().served("example.org")
    assert served.leaf.serial == leaf.certificate.serial
    assert "renewal" not in lone_httpd.md_status("example.org")


def test_a_backup_is_checked_and_restored_without_a_new_order(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    (sandbox.root / "root").mkdir()
    httpd.config.managed("a.example.org")
    httpd.start().obtain("a.example.org")
    serial, orders = httpd.served("a.example.org").leaf.serial, pebble.new_orders
    for commands in _commands("backup.md", "Backup"):
        _run(commands, sandbox)
    httpd.stop()
    (sandbox.store / "md_store.json").write_text("{")
    [commands] = _commands("backup.md", "Restore")
    _run(commands, sandbox)
    httpd.start()
    assert httpd.served("a.example.org", ca=pebble.root).leaf.serial == serial
    assert A2md(sandbox, pebble)("acme", "validate", *sandbox.account_ids()).code == 0
    assert pebble.new_orders == orders
