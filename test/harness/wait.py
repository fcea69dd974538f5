"""Waiting for conditions: the only place of the tests that lets time pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TimedOut(AssertionError):
    """A condition did not become true within its limit."""


def wait(condition: Callable[[], T], limit: float = 30.0, what: str = "", every: float | None = None) -> T:
    """Ask `condition` until its answer is truthy and return that answer.

    `limit` is in seconds and only there to end a broken test: make it generous. Without `every`, seconds between two questions, less is asked
    the longer it takes: a question costs processor time, which the servers of other tests want.
    """
    end = time.monotonic() + limit
    pause = every or 0.02
    while not (answer := condition()):
        if time.monotonic() > end:
            raise TimedOut(f"not within {limit:g} s: {what or condition}")
        time.sleep(pause)
        pause = every or min(pause * 1.1, 0.05)
    return answer
