"""What stapling costs: handshakes of a client that asks for a staple, and the CPU time of what answers it."""

from __future__ import annotations

import contextlib
import struct
import subprocess
from pathlib import Path
from statistics import median

from harness.module import Module
from harness.wait import wait
from harness.world import World

NATIVE = Path(__file__).parent / "native"
PAIRS = 10
COMPILE = ["cc", "-O2", "-Wall", "-Wextra", "-Werror"]


def staple(modules: dict[str, str], seconds: float) -> None:
    """Prints a line for each module: handshakes per second with stapling on and off, in turns, and the time of a status request."""
    for name, path in modules.items():
        module = Module(name, Path(path))
        with contextlib.ExitStack() as running:
            on, off, counted = (Side(running, module, *how) for how in (("on",), ("off",), ("on", True)))
            ratios = []
            for number in range(PAIRS):
                pair = (on, off) if number % 2 == 0 else (off, on)
                rates = {side: side.handshakes(seconds) for side in pair}
                ratios.append(rates[on] / rates[off])
            counted.handshakes(seconds)
            calls, nanoseconds = counted.cost()
            rates_on, rates_off = median(on.rates), median(off.rates)
            print(f"{name}: {rates_on:.0f}/s stapled, {rates_off:.0f}/s without, ratio {median(ratios):.3f} (median of {PAIRS} pairs), "
                  f"{nanoseconds / max(calls, 1) / 1000:.2f} us for each of {calls} status requests", flush=True)


class Side:
    """A server with one host whose certificate has a responder, and with stapling `on` or `off`."""

    def __init__(self, running: contextlib.ExitStack, module: Module, stapling: str, is_timed: bool = False) -> None:
        world = World("bench", module)
        running.callback(world.remove)
        running.callback(world.close)
        self.stapling, self.world, self.rates = stapling, world, list[float]()
        self._client = world.sandbox.root / "handshakes"
        _compile("handshakes.c", self._client, "-lssl", "-lcrypto")
        ca = world.pki.ca().intermediate("Bench CA")
        responder = world.responder(ca)
        leaf = ca.leaf("bench.test", ocsp_url=responder.url)
        responder.says(leaf)
        self.httpd = world.httpd()
        self._configure(leaf.chain_file, leaf.key_file)
        self._cost = world.sandbox.root / "cost"
        if is_timed:
            self._time_requests()
        self.httpd.start()
        if stapling == "on":
            wait(lambda: all(self.httpd.served("bench.test", status=True).staple for _ in range(16)), 60, "staple")

    def handshakes(self, seconds: float) -> float:
        """How many there are in a second."""
        command = [str(self._client), str(self.world.https_port), str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        connections, stapled, took = (float(each) for each in done.stdout.split())
        assert stapled == (connections if self.stapling == "on" else 0), done.stdout
        self.rates.append(connections / took)
        return self.rates[-1]

    def cost(self) -> tuple[int, int]:
        """Status requests so far, and nanoseconds for them."""
        calls, nanoseconds = struct.unpack("<qq", self._cost.read_bytes())
        return calls, nanoseconds

    def _configure(self, chain: Path, key: Path) -> None:
        config = self.httpd.config
        config.log_level = "warn"
        config.add(f"MDStapling {self.stapling}", "SSLSessionTickets off")
        config.https("bench.test", f"SSLCertificateFile {chain}", f"SSLCertificateKeyFile {key}")

    def _time_requests(self) -> None:
        self._cost.write_bytes(bytes(16))
        library = self.world.sandbox.root / "status_cost.so"
        _compile("status_cost.c", library, "-shared", "-fPIC", "-ldl")
        self.httpd.env |= {"LD_PRELOAD": str(library), "STATUS_COST": str(self._cost)}


def _compile(source: str, target: Path, *options: str) -> None:
    subprocess.run([*COMPILE, "-o", str(target), str(NATIVE / source), *options], check=True)
