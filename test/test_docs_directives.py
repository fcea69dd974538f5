"""docs/directives.md against the module: a section for each directive, with contexts and examples that httpd agrees with."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

import pytest

from harness.httpd import Httpd
from harness.module import REPO
from harness.pki import Pki

pytestmark = pytest.mark.module("ours")

TEXT = (REPO / "docs/directives.md").read_text()
# What a line is put into, by the words of the Context item.
PLACES = {
    "server config": "{}",
    "virtual host": "<VirtualHost *:81>\nServerName docs.example.org\n{}\n</VirtualHost>",
    "<MDomainSet>": "<MDomainSet docs.example.org>\n{}\n</MDomainSet>",
}
# httpd refuses these for all but a few directives by itself, as `httpd -L` tells.
BY_OVERRIDE = {"<If>": "<If true>\n{}\n</If>", "<Directory>": '<Directory "/">\n{}\n</Directory>'}
# How httpd and the module complain of a place.
MISPLACED = re.compile(r"is not allowed inside an '<MDomainSet'|is only valid inside a '<MDomainSet'|not allowed here|cannot occur within")
# `httpd -L` puts it this way.
ONLY_SERVER = "Allowed in *.conf only outside <Directory>, <Files>, <Location>, or <If>"
AUTH_CONFIG = "Allowed in *.conf anywhere [no per-dir config] and in .htaccess when AllowOverride includes AuthConfig"


@dataclass
class Section:
    """Content of a section of the manual."""

    name: str
    text: str

    @property
    def items(self) -> dict[str, str]:
        """The list at its top."""
        return dict(re.findall(r"^- (\w+): (.+)$", self.text, re.M))

    @property
    def contexts(self) -> set[str]:
        return set(self.items["Context"].partition(";")[0].replace("`", "").split(", "))

    @property
    def override(self) -> str:
        return self.items["Context"].partition("; override ")[2]

    @property
    def examples(self) -> list[str]:
        return re.findall(r"^```apache\n(.*?)^```$", self.text, re.M | re.S)

    @property
    def use(self) -> str:
        """The directive as the example has it, without what it stands in."""
        name = re.escape(self.name.rstrip(">"))
        pattern = rf"^{name}\b.*?^</.*?>$" if self.name.startswith("<") else rf"^ *{name} .*$"
        found = re.search(pattern, self.examples[0], re.M | (re.S if self.name.startswith("<") else re.NOFLAG))
        assert found, f"the example of {self.name} does not use it"
        return found[0].strip()


SECTIONS = [Section(name, text) for name, text in re.findall(r"^### `([^`]+)`\n(.*?)(?=^##|\Z)", TEXT, re.M | re.S)]
BY_NAME = {section.name: section for section in SECTIONS}


def _listed(httpd: Httpd) -> dict[str, tuple[str, str]]:
    """Description of the module's directives, and where they are allowed, by `httpd -L`."""
    found = re.findall(r"^(<?MD\w+) \(mod_md\.c\)\n\t(.*)\n((?:\t.*\n?)+)", httpd.directives(), re.M)
    return {f"{name}>" if name.startswith("<") else name: (description, " ".join(allowed.split())) for name, description, allowed in found}


def _registered(httpd: Httpd) -> dict[str, str]:
    """Places where the module's directives are allowed, by `httpd -L`."""
    return {name: allowed for name, (_, allowed) in _listed(httpd).items()}


def _refused(httpd: Httpd, *lines: str) -> str:
    """Errors of `httpd -t` about lines of the main server; empty if there are none."""
    # Commands of examples are not on this machine.
    httpd.log.expects("AH10045", "MD0061", optional=True)
    httpd.config.clear().add(*lines)
    checked = httpd.configtest()
    return "" if checked.ok else checked.text


def test_each_directive_of_the_module_has_one_section_and_the_others_none(lone_httpd: Httpd) -> None:
    names = [section.name for section in SECTIONS]
    assert len(names) == len(BY_NAME)
    assert sorted(names) == sorted(_registered(lone_httpd))


def test_descriptions_are_those_of_httpd_and_compatibility_tells_what_the_c_module_lacks(lone_httpd: Httpd) -> None:
    told = {name: description for name, (description, _) in _listed(lone_httpd).items()}
    assert {section.name: section.items["Description"] for section in SECTIONS} == told
    ours = {name for name in re.findall(r'ours\(row\(c"(<?\w+)', (REPO / "src/model/directive.rs").read_text())}
    assert {section.name for section in SECTIONS if section.items["Compatibility"].startswith("not")} == ours


def test_the_contents_at_the_top_name_each_section_once() -> None:
    contents = TEXT.partition("\n## ")[0]
    assert sorted(re.findall(r"\[`?([^]`]+)`?\]\(#", contents)) == sorted(BY_NAME)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_a_section_is_complete(section: Section) -> None:
    assert list(section.items) == ["Description", "Syntax", "Default", "Context", "Scope", "Compatibility"]
    assert section.items["Syntax"].startswith(f"`{section.name.rstrip('>')} ")
    assert section.items["Default"] == "none" or section.items["Default"].startswith(f"`{section.name} ")
    assert section.contexts <= (PLACES | BY_OVERRIDE if section.override else PLACES).keys()
    assert section.examples
    assert len(section.text.splitlines()) <= 42, "too long"
    assert re.fullmatch(r"not in the C module|in the C module(, undocumented| since httpd 2\.4\.\d\d)", section.items["Compatibility"])
    assert section.use


def test_contexts_are_what_httpd_tells_and_does(lone_httpd: Httpd) -> None:
    # A certificate file without its key, and the other way round; files of roots that do not exist, and ports that nobody listens at.
    lone_httpd.log.expects("AH10170", "AH10171", "MD0094", "AH10173")
    wrong = []
    for name, allowed in _registered(lone_httpd).items():
        section = BY_NAME[name]
        if allowed != (AUTH_CONFIG if section.override == "AuthConfig" else ONLY_SERVER):
            wrong.append(f"{name}: httpd -L says {allowed}")
        for place, around in (PLACES | BY_OVERRIDE if section.override else PLACES).items():
            said = _refused(lone_httpd, around.format(section.use))
            if bool(MISPLACED.search(said)) == (place in section.contexts):
                wrong.append(f"{name} in {place}: {said or 'is taken'}")
    assert not wrong, "\n".join(wrong)


def test_examples_and_defaults_load(lone_httpd: Httpd, pki: Pki) -> None:
    leaf, files = pki.ca().leaf("example.org"), lone_httpd.sandbox.root / "ssl"
    for path in re.findall(r"/etc/ssl/(\S+)", TEXT):
        target = files / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(leaf.key_file if path.endswith(".key") else leaf.cert_file, target)
    wrong = []
    for section in SECTIONS:
        default = section.items["Default"].strip("`")
        for lines in [*section.examples, *([default] if default != "none" else [])]:
            if said := _refused(lone_httpd, lines.replace("/etc/ssl", str(files))):
                wrong.append(f"{section.name}: {said}")
    assert not wrong, "\n".join(wrong)
