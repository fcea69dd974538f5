"""The cost of `MDActivation live`: handshakes under a certificate that went live, against one that a start has set up."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from bench_handshakes import CERTIFY, PAIRS, HandshakeServer, ratios
from harness.live import LiveSets
from harness.module import Module
from harness.wait import wait

NAME = "bench.test"


def live(modules: dict[str, str], seconds: float) -> None:
    """Prints a line for each module: handshakes per second with live and restart, in turns, and the time of the callback."""
    for name, path in modules.items():
        module = Module(name, Path(path))
        with contextlib.ExitStack() as running:
            at_once, at_restart, counted = (Side(running, module, *how) for how in (("live",), ("restart",), ("live", True)))
            ratio = median(ratios(at_once, at_restart, seconds))
            # Until now each child has read the set, too.
            before = counted.cost(CERTIFY)
            counted.handshakes(seconds)
            calls, nanoseconds = (now - then for now, then in zip(counted.cost(CERTIFY), before))
            print(f"{name}: {median(at_once.rates):.0f}/s live, {median(at_restart.rates):.0f}/s restart, ratio {ratio:.3f} (median of {PAIRS} "
                  f"pairs), {nanoseconds / max(calls, 1) / 1000:.2f} us to choose the certificates, {calls} times", flush=True)


class Side(HandshakeServer):
    """A server with one domain that has certificates since its start, and with `live` other ones that are served."""

    def __init__(self, running: contextlib.ExitStack, module: Module, mode: str, is_timed: bool = False) -> None:
        super().__init__(running, module, is_timed)
        ca, sets = self.world.pki.ca().intermediate("Bench CA"), LiveSets(self.httpd)
        first, second = (ca.leaf(NAME, not_before=datetime.now(UTC) - timedelta(hours=hours)) for hours in (2, 1))
        self.httpd.config.add(f"MDActivation {mode}", "MDRenewMode manual", "MDPrivateKeys secp256r1").md(NAME).https(NAME)
        sets.install(NAME, first)
        self.httpd.start()
        served = first
        if mode == "live":
            sets.publish(NAME, second)
            served = second
        wait(lambda: all(self.httpd.served(NAME).leaf == served.certificate for _ in range(16)), 60, "certificate")
