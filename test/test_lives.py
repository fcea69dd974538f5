"""Certificates that live for a short time only, with the usual times between checks."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.world import World

NAME = "a.example.org"
DUE_AT_ONCE = "MDRenewWindow 95%"


@pytest.mark.module("ours")
@pytest.mark.pebble(profiles={"default": 90})
def test_certificates_of_a_minute_and_a_half_are_renewed_in_time_and_not_twice_in_a_minute(
    httpd: Httpd, pebble: Pebble, world: World
) -> None:
    # They come due after 4 s, and nothing but their own time makes the server look again.
    clock = world.clock(httpd)
    httpd.config.add("MDActivation live", "MDCheckInterval 12h", DUE_AT_ONCE, "MDRenewViaARI off").managed(NAME)
    httpd.start().wait_log("MD0036")
    first = httpd.served(NAME, ca=pebble.root)
    httpd.wait_log("has been renewed just now, the next renewal is not before ")
    assert pebble.new_orders == 1
    clock.shift(seconds=60)

    def renewed() -> bool:
        served = httpd.served(NAME, ca=pebble.root)
        assert served.verified
        assert served.leaf.not_before <= datetime.now(timezone.utc) < served.leaf.not_after
        return served.leaf != first.leaf

    httpd.wait(renewed, what="a renewal")
    assert pebble.new_orders == 2


@pytest.mark.module("ours")
@pytest.mark.pebble(profiles={"default": 5})
def test_an_authority_with_certificates_of_seconds_gets_one_order_in_a_minute(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.add("MDActivation live", "MDRetryDelay 1s", "MDRenewViaARI off").managed(NAME)
    httpd.start().wait_log("has been renewed just now")
    # A restart does not make it due.
    httpd.graceful().wait_log("has been renewed just now", times=2)
    assert pebble.new_orders == 1
