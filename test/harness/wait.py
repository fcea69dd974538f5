"""Waiting for conditions: the only place of the tests that lets time pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TimedOut(AssertionError):
    """A condition did not become true within its limit."""


def wait(condition: Callable[[], T], limit: float = 30.0, what: str = "", every: float = 0.02) -> T:
    """Ask `condition` until its answer is truthy and return that answer.

    `limit` is in seconds and only there to end a broken test: make it generous.
    """
    end = time.monotonic() + limit
    while not (answer := condition()):
        if time.monotonic() > end:
            raise TimedOut(f"not within {limit:g} s: {what or condition}")
        time.sleep(every)
    return answer
