"""docs/howto.md and docs/authorities.md: each configuration in them is one that httpd takes."""

from __future__ import annotations

import re

import pytest

from harness.httpd import Httpd
from harness.module import REPO

pytestmark = pytest.mark.module("ours")


def _sections(document: str) -> list[tuple[str, str]]:
    return re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (REPO / document).read_text(), re.M | re.S)


RECIPES = _sections("docs/howto.md") + [each for each in _sections("docs/authorities.md") if "```apache" in each[1]]


@pytest.mark.parametrize(("title", "text"), RECIPES, ids=[title for title, _ in RECIPES])
def test_the_configurations_of_a_recipe_load(lone_httpd: Httpd, title: str, text: str) -> None:
    lone_httpd.log.expects("AH10045", "MD0006", "MD0061", optional=True)
    blocks = re.findall(r"^```apache\n(.*?)^```$", text, re.M | re.S)
    assert blocks, f"{title} has no configuration"
    for block in blocks:
        lone_httpd.config.clear().add(*block.splitlines())
        checked = lone_httpd.configtest()
        assert checked.ok, f"{title}: {checked.text}"
