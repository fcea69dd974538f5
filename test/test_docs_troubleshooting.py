"""docs/troubleshooting.md: what a server says about a mistake is found in the chapter that has the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from harness.httpd import Httpd
from harness.module import REPO
from harness.pebble import Pebble

pytestmark = [pytest.mark.module("ours"), pytest.mark.pebble(nonce_reject=0, authz_reuse=0)]
NAME = "a.example.org"


def _rows() -> list[tuple[str, list[str]]]:
    """Chapter, and the parts of the words between backquotes, of each row of a table of log lines."""
    found = []
    text = (REPO / "docs/troubleshooting.md").read_text()
    for title, body in re.findall(r"^##+ (.+?)\n(.*?)(?=^##|\Z)", text, re.M | re.S):
        for table in re.findall(r"^\| In the log.*?\n(.*?)(?:\n\n|\Z)", body, re.M | re.S):
            cells = [row.split(" | ")[0] for row in table.splitlines()[1:]]
            found += [(title, words.split("…")) for cell in cells for words in re.findall(r"`([^`]+)`", cell)]
    return found


def _without(httpd: Httpd, directive: str) -> None:
    httpd.config.defaults = [line for line in httpd.config.defaults if not line.startswith(directive)]
    httpd.config.managed(NAME)


def _closed(httpd: Httpd) -> None:
    httpd.config.defaults = [line for line in httpd.config.defaults if not line.startswith("MDCertificateAuthority")]
    httpd.config.add("MDCertificateAuthority https://localhost:1/dir").managed(NAME)


# A mistake, what has to be in the log, and the chapter that has the remedy.
MISTAKES: dict[str, tuple[Callable[[Httpd], object], str, str]] = {
    "no agreement": (lambda httpd: _without(httpd, "MDCertificateAgreement"), "AH10056", "Before anything is asked"),
    "no host": (lambda httpd: httpd.config.md(NAME), "AH10045", "Before anything is asked"),
    "two domains": (lambda httpd: httpd.config.md(NAME).md(f"b.{NAME}").https(NAME, aliases=[f"b.{NAME}"]), "AH10238", "Before anything is asked"),
    "a wildcard without DNS": (lambda httpd: httpd.config.managed(NAME, f"*.{NAME}"), "AH10173", "Before anything is asked"),
    "a closed port": (_closed, "AH10056", "Outgoing"),
    "an unknown root": (lambda httpd: _without(httpd, "MDCACertificateFile"), "AH10056", "Outgoing"),
    "a proxy that is not there": (lambda httpd: httpd.config.add("MDHttpProxy http://127.0.0.1:1").managed(NAME), "AH10056", "Proxies"),
    "a command that fails": (
        lambda httpd: httpd.config.add("MDCAChallenges dns-01", "MDChallengeDns01 /bin/false").managed(NAME),
        "AH10056",
        "dns-01",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_words_of_the_log_lead_to_the_chapter_with_the_remedy(httpd: Httpd, pebble: Pebble, mistake: str) -> None:
    make, number, chapter = MISTAKES[mistake]
    make(httpd)
    httpd.config.add("MDRetryDelay 1d")
    httpd.log.expects(number)
    httpd.log.expects("AH10056", "AH10173", "MD0092", "dns-01", "AH10045", optional=True)
    if number == "AH10238":
        httpd.log.expects("AH02572", "no certificate assigned", "AH02312", "AH00016")
        lines = httpd.fails_to_start().splitlines()
    else:
        httpd.start().wait_log(number)
        lines = [str(line) for line in httpd.log.find(number)]
    titles = {title for title, parts in _rows() if any(all(part in line for part in parts) for line in lines)}
    assert chapter in titles, "\n".join(lines)


@pytest.mark.parametrize("chapter", ["Before anything is asked", "Incoming", "Outgoing", "Limits", "Clients see another certificate"])
def test_the_causes_in_the_readme_have_a_chapter(chapter: str) -> None:
    anchor = chapter.lower().replace(" ", "-")
    assert f"(docs/troubleshooting.md#{anchor})" in (REPO / "README.md").read_text()
    assert f"\n## {chapter}\n" in (REPO / "docs/troubleshooting.md").read_text()
