"""docs/howto.md: each configuration in it is one that httpd takes."""

from __future__ import annotations

import re

import pytest

from harness.httpd import Httpd
from harness.module import REPO

pytestmark = pytest.mark.module("ours")

RECIPES = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (REPO / "docs/howto.md").read_text(), re.M | re.S)


@pytest.mark.parametrize(("title", "text"), RECIPES, ids=[title for title, _ in RECIPES])
def test_the_configurations_of_a_recipe_load(lone_httpd: Httpd, title: str, text: str) -> None:
    lone_httpd.log.expects("AH10045", "MD0006", "MD0061", optional=True)
    blocks = re.findall(r"^```apache\n(.*?)^```$", text, re.M | re.S)
    assert blocks, f"{title} has no configuration"
    for block in blocks:
        lone_httpd.config.clear().add(*block.splitlines())
        checked = lone_httpd.configtest()
        assert checked.ok, f"{title}: {checked.text}"
