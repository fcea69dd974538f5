"""Servers whose handshakes are measured, in pairs that take turns: their rate, and the CPU time of a callback in them."""

from __future__ import annotations

import contextlib
import struct
import subprocess

from harness import native
from harness.module import Module
from harness.world import World

PAIRS = 10
STATUS, CERTIFY = 0, 1
"""The callbacks that are timed, in the order of native/callback_cost.c."""


class HandshakeServer:
    """A server of one host that makes new sessions only; not started yet. With `is_timed` it notes the time of callbacks."""

    staples = False
    """Each handshake is to have a staple."""

    def __init__(self, running: contextlib.ExitStack, module: Module, is_timed: bool = False) -> None:
        self.world, self.rates = World("bench", module), list[float]()
        running.callback(self.world.remove)
        running.callback(self.world.close)
        self._client = self.world.sandbox.root / "handshakes"
        native.build("handshakes.c", self._client, "-lssl", "-lcrypto")
        self.httpd = self.world.httpd()
        self.httpd.config.log_level = "warn"
        self.httpd.config.add("SSLSessionTickets off")
        self._cost = self.world.sandbox.root / "cost"
        if is_timed:
            self._time_callbacks()

    def handshakes(self, seconds: float) -> float:
        """How many there are in a second."""
        command = [str(self._client), str(self.world.https_port), str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        connections, stapled, took = (float(each) for each in done.stdout.split())
        assert stapled == (connections if self.staples else 0), done.stdout
        self.rates.append(connections / took)
        return self.rates[-1]

    def cost(self, callback: int) -> tuple[int, int]:
        """Calls so far, and nanoseconds for them."""
        numbers = struct.unpack("<4q", self._cost.read_bytes())
        return numbers[2 * callback], numbers[2 * callback + 1]

    def _time_callbacks(self) -> None:
        self._cost.write_bytes(bytes(32))
        library = native.library("callback_cost.c", self.world.sandbox.root, "-ldl")
        self.httpd.env |= {"LD_PRELOAD": str(library), "CALLBACK_COST": str(self._cost)}


def ratios(one: HandshakeServer, other: HandshakeServer, seconds: float) -> list[float]:
    """The rates of one by those of the other, in turns."""
    found = []
    for number in range(PAIRS):
        pair = (one, other) if number % 2 == 0 else (other, one)
        rates = {server: server.handshakes(seconds) for server in pair}
        found.append(rates[one] / rates[other])
    return found
