"""make manual: docs/directives.md in the form of httpd's manual."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "test/tools"))
import manual  # noqa: E402

TEXT = (TOP / "docs/directives.md").read_text()
NAMES = [name for name in re.findall(r"^### `([^`]+)`$", TEXT, re.M)]
# Of modulesynopsis.dtd and common.dtd of httpd's manual, with the attributes that they need.
ELEMENTS = {
    *("modulesynopsis", "name", "description", "status", "sourcefile", "identifier", "compatibility", "summary", "seealso", "section", "title"),
    *("directivesynopsis", "syntax", "default", "contextlist", "context", "override", "usage", "directive", "highlight", "example"),
    *("p", "ul", "ol", "li", "table", "tr", "td", "th", "code", "a", "strong", "em", "pre", "br"),
}
ORDER = ["name", "description", "syntax", "default", "contextlist", "override", "compatibility", "usage", "seealso"]


def test_the_xml_has_each_directive_with_the_elements_of_httpds_manual() -> None:
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE.*?>", "", manual.as_xml(TEXT)))
    assert {element.tag for element in root.iter()} <= ELEMENTS
    found = root.findall("directivesynopsis")
    # `<MDomain>` is MDomain in another spelling, and would have its name.
    assert [each.findtext("name") for each in found] == [name.strip("<>") for name in NAMES if name != "<MDomain>"]
    for each in found:
        tags = [child.tag for child in each]
        assert tags == sorted(tags, key=ORDER.index)
        assert each.find("usage/highlight") is not None, each.findtext("name")
        assert {"name", "description", "syntax", "contextlist", "compatibility", "usage"} <= set(tags)
        assert "- Description" not in "".join(each.itertext())
    contexts = {context.text for context in root.iter("context")}
    assert contexts == {"server config", "virtual host"}


class _Page(HTMLParser):
    """Targets, links and open elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        self.targets += [has["id"]] if has.get("id") else []
        self.links += [has["href"]] if tag == "a" and has.get("href") else []


def test_the_html_has_each_directive_once_and_its_links_lead_somewhere() -> None:
    page = _Page(manual.as_html(TEXT))
    assert len(page.targets) == len(set(page.targets))
    assert {manual.identifier(name) for name in NAMES} <= set(page.targets)
    within = {link[1:] for link in page.links if link.startswith("#")}
    assert within - set(page.targets) == set()
    assert not [link for link in page.links if re.match(r"\w+\.md", link)]
