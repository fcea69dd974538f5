"""README and the pages of recipes: each configuration is one that httpd takes, and those for every server do what they say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness.httpd import Httpd
from harness.module import REPO
from harness.pebble import Pebble
from harness.pki import Pki

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
    return block.replace("*:443", f"*:{httpd.config.https_port}").replace("*:80>", f"*:{httpd.config.http_port}>").replace("Protocols h2 ", "Protocols ")


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
