"""docs/authorities.md says what the servers of the tests offer."""

from __future__ import annotations

import re

import pytest

from harness.authorities import AUTHORITIES
from harness.authority import Authority
from harness.module import REPO

TABLE = (REPO / "docs/authorities.md").read_text().partition("## Tested servers")[2]
ROWS = {name: cells.split("|") for name, cells in re.findall(r"^\| ([^|]+) \|(.*)\|$", TABLE, re.M)}


@pytest.mark.parametrize("column", range(len(AUTHORITIES)), ids=[each.name for each in AUTHORITIES])
def test_the_table_says_what_a_server_does_not_offer(column: int) -> None:
    kind: type[Authority] = AUTHORITIES[column]
    told = {feature for feature, cells in ROWS.items() if cells[column].strip() == "no"}
    assert told == set(kind.lacks)
