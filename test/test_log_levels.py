"""How much a healthy server says at `LogLevel md:info`."""

from __future__ import annotations

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble

pytestmark = pytest.mark.module("ours")

NAME = "a.example.org"
MOST_LINES = 12


@pytest.mark.pebble(nonce_reject=20)
def test_a_renewal_is_told_in_a_few_lines(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.log_level = "info ssl:info md:info"
    httpd.config.md_set(NAME, "MDMember www.a.example.org").http(NAME, aliases=["www.a.example.org"]).https(NAME, aliases=["www.a.example.org"])
    httpd.config.add("MDPrivateKeys rsa2048 secp384r1")
    httpd.start().obtain(NAME)
    # From now on it is due at any time.
    before = httpd.served(NAME, ca=pebble.root).leaf.serial
    httpd.config.add("MDRenewWindow 100d")
    mark = len(httpd.log.lines)
    httpd.graceful().wait_staged(NAME)
    httpd.config.add("MDRenewWindow 33%")
    httpd.graceful()
    assert httpd.served(NAME, ca=pebble.root).leaf.serial != before
    lines = [line for line in httpd.log.lines[mark:] if line.module == "md"]
    told = [number for number in ("AH10059", "AH10068") if any(line.has(number) for line in lines)]
    assert told == ["AH10059", "AH10068"]
    assert len(lines) <= MOST_LINES, "\n".join(map(str, lines))
