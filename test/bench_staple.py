"""The cost of stapling: handshakes of a client that asks for a staple, and the CPU time of the server."""

from __future__ import annotations

import contextlib
from pathlib import Path
from statistics import median

from bench_handshakes import PAIRS, STATUS, HandshakeServer, ratios
from harness.module import Module
from harness.wait import wait


def staple(modules: dict[str, str], seconds: float) -> None:
    """Prints a line for each module: handshakes per second with stapling on and off, in turns, and the time of a status request."""
    for name, path in modules.items():
        module = Module(name, Path(path))
        with contextlib.ExitStack() as running:
            on, off, counted = (Side(running, module, *how) for how in (("on",), ("off",), ("on", True)))
            ratio = median(ratios(on, off, seconds))
            counted.handshakes(seconds)
            calls, nanoseconds = counted.cost(STATUS)
            rates_on, rates_off = median(on.rates), median(off.rates)
            print(f"{name}: {rates_on:.0f}/s stapled, {rates_off:.0f}/s without, ratio {ratio:.3f} (median of {PAIRS} pairs), "
                  f"{nanoseconds / max(calls, 1) / 1000:.2f} us for each of {calls} status requests", flush=True)


class Side(HandshakeServer):
    """A server with one host whose certificate has a responder, and with stapling `on` or `off`."""

    def __init__(self, running: contextlib.ExitStack, module: Module, stapling: str, is_timed: bool = False) -> None:
        super().__init__(running, module, is_timed)
        ca = self.world.pki.ca().intermediate("Bench CA")
        responder = self.world.responder(ca)
        leaf = ca.leaf("bench.test", ocsp_url=responder.url)
        responder.says(leaf)
        self.httpd.config.add(f"MDStapling {stapling}")
        self.httpd.config.https("bench.test", f"SSLCertificateFile {leaf.chain_file}", f"SSLCertificateKeyFile {leaf.key_file}")
        self.httpd.start()
        self.staples = stapling == "on"
        if self.staples:
            wait(lambda: all(self.httpd.served("bench.test", status=True).staple for _ in range(16)), 60, "staple")
