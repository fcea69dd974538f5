"""The documents say what the sources say."""
import re
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent


DOCUMENTS = sorted([*TOP.glob("*.md"), *TOP.glob("docs/*.md"), *TOP.glob("test/*.md")])


def common():
    """README's table of directives as pairs: name, and whether it may stand in the section of a domain."""
    table = (TOP / "README.md").read_text().split("## Directives")[1].split("\n## ")[0]
    for line in table.splitlines():
        if line.startswith(("| `MD", "| `<MD")):
            cell = line.replace("\\|", "/").split("|")[1].strip()
            for name in re.findall(r"`(<?MD\w+)", cell):
                yield name, cell.endswith("*")


def described():
    """The same pairs from the sections of docs/directives.md."""
    sections = re.findall(r"^### `(<?MD\w+)>?`$.*?^- Context: (.*?)$", (TOP / "docs/directives.md").read_text(), re.M | re.S)
    return {(name, "`<MDomainSet>`" in context) for name, context in sections}


def anchors(text):
    """The targets that GitHub gives the headings of a document; the second of the same name gets a number."""
    found = []
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        times = sum(bool(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", each)) for each in found)
        found.append(f"{slug}-{times}" if times else slug)
    return found


def test_readme_lists_directives_as_they_are_described():
    listed = set(common())
    assert listed
    assert listed <= described()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_links_lead_somewhere(document):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert not broken


def test_monitoring_lists_the_problems_that_the_sources_have():
    """Each is a word in one of the functions that name problems; `ocsp` and `command` failures have theirs in a row."""
    table = (TOP / "docs/monitoring.md").read_text().split("## Problems of renewals")[1].split("\n## ")[0]
    listed = {name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`([^`]+)`", row)} - {"problem"}
    known = {"unknown", "urn:org:apache:httpd:log:AH10108:", "urn:org:apache:httpd:log:AH10109:"}
    for source in ("acme/error.rs", "http/error.rs", "tailscale/error.rs", "ocsp/fetch.rs", "acme/ports.rs"):
        text = (TOP / "src" / source).read_text()
        functions = re.findall(r"^    (?:pub )?fn (?:own_)?problem\(.*?^    }$", text, re.M | re.S)
        names = [name for function in functions for name in re.findall(r'"([^"]+)"', function)]
        names += re.findall(r'const PROBLEM: &str = "([^"]+)"', text)
        assert names, source
        known |= {name for name in names if not name.startswith("urn:ietf:")}
    assert listed == known


def test_no_message_has_the_number_of_another_in_its_text():
    """A search for a number in the log finds that message only. Pages and a2md may name one: they are not in the log."""
    numbers = set(re.findall(r"^    (\w+) [A-Z]\w+ \"", (TOP / "src/log.rs").read_text(), re.M))
    assert {"AH10059", "MD0007"} <= numbers
    sources = {path.relative_to(TOP / "src"): path.read_text() for path in (TOP / "src").rglob("*.rs")}
    of_tests = {name for text in sources.values() for name in re.findall(r"#\[cfg\(test\)\]\n(?:pub(?:\(\w+\))? )?mod (\w+);", text)}
    found = []
    for part, text in sources.items():
        if part.parts[0] in ("status", "cli") or of_tests & set(part.with_suffix("").parts):
            continue
        text = text.partition("#[cfg(test)]\nmod tests {")[0].replace("'\"'", "")
        for literal in re.findall(r'"((?:[^"\\]|\\.)*)"', text, re.S):
            found += [(str(part), number) for number in re.findall(r"\b(?:AH|MD)\d+", literal) if number in numbers]
    assert not found


def test_changelog_opens_with_the_version_that_is_built():
    version = tomllib.loads((TOP / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert re.findall(r"^## (\S+)", (TOP / "CHANGELOG.md").read_text(), re.M)[0] == version
