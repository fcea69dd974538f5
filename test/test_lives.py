"""Certificates that live for a short time only, with the usual times between checks."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble

NAME = "a.example.org"


@pytest.mark.module("ours")
@pytest.mark.pebble(profiles={"default": 60})
def test_certificates_of_a_minute_are_renewed_three_times_without_a_gap(httpd: Httpd, pebble: Pebble) -> None:
    # They come due after 3 s, and nothing but their own time makes the server look again.
    httpd.config.add("MDActivation live", "MDCheckInterval 12h", "MDRenewWindow 95%", "MDRenewViaARI off").managed(NAME)
    httpd.start().wait_log("MD0036")
    seen: list[str] = []

    def three_renewals() -> bool:
        served = httpd.served(NAME, ca=pebble.root)
        assert served.verified
        assert served.leaf.not_before <= datetime.now(timezone.utc) < served.leaf.not_after
        if served.leaf.serial not in seen:
            seen.append(served.leaf.serial)
        return len(seen) >= 4

    httpd.wait(three_renewals, limit=240, what="three renewals")
