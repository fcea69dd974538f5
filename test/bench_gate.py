"""`make bench-gate`: what a domain costs at a start, in a reload, in a handshake and for a renewal, counted and not timed.

callgrind counts instructions of user mode, strace system calls. The slope between two numbers of domains leaves out what does not
depend on it. A ratio is that to httpd with static certificates and no module. Fails if a figure is above its limit. Variables:
GATE_N (100,300), GATE_RENEWALS (10,30).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench import NO_MODULE, Site, Stores, domain_names
from harness.config import binary
from harness.module import Module
from harness.wait import wait
from harness.world import World

_FEW, _MANY = (int(count) for count in os.environ.get("GATE_N", "100,300").split(","))
_FEW_RENEWALS, _MANY_RENEWALS = (int(count) for count in os.environ.get("GATE_RENEWALS", "10,30").split(","))
_HANDSHAKES, _MORE_HANDSHAKES = 40, 120
_RUNNING = "resuming normal operations"
_FSYNC = ("fsync", "fdatasync", "sync_file_range", "syncfs")


@dataclass(frozen=True)
class Limit:
    """The most that a figure may be."""

    most: float
    unit: str = "of httpd without the module"


# An OpenSSL before 3.2 takes far longer to decode a key, which a start leaves out.
_IS_SLOW = ssl.OPENSSL_VERSION_INFO < (3, 2)
_LIMITS = {
    "a start": Limit(0.17 if _IS_SLOW else 0.6),
    "a reload": Limit(0.17 if _IS_SLOW else 0.63),
    "a handshake": Limit(1.03),
    "a renewal's requests": Limit(8.5, "requests"),
    # One of them is the start's, which writes a new domain.
    "a renewal's fsyncs": Limit(7, "calls"),
}


class Counted(Site):
    """A server with one child, under a tool that counts."""

    def run(self, tool: list[str], reloads: int = 0, handshakes: int = 0, certificates: int = 0) -> int:
        """Start, reload, shake hands or wait for certificates, and stop. Returns the id of the parent."""
        box = self.world.sandbox
        box.error_log.unlink(missing_ok=True)
        command = [*tool, binary(), "-d", str(box.root), "-f", str(box.conf), "-D", "FOREGROUND"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as server:
            parent = 0
            try:
                for turn in range(1 + reloads):
                    if turn:
                        os.kill(parent, signal.SIGUSR1)
                    wait(lambda: self._is_running(turn + 1), 900, f"start: {self.log()}", every=0.05)
                    # A tool such as strace is a process of its own.
                    parent = int((box.run / "httpd.pid").read_text())
                for number in range(handshakes):
                    wait(lambda: self._handshake(domain_names(self.count)[number % 8]), 60, "handshake")
                wait(lambda: self.certified() >= certificates, 600, f"certificates: {self.log()}", every=0.1)
            finally:
                os.kill(parent or server.pid, signal.SIGTERM)
                server.wait(300)
            return parent

    def instructions(self, **what: int) -> tuple[int, int]:
        """Of the parent, and of its children."""
        folder = Path(tempfile.mkdtemp(prefix="mod_md-callgrind-"))
        folder.chmod(0o777)
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/%p"]
        parent = str(self.run(tool, **what))
        counts = {file.name: int(re.findall(r"^totals: (\d+)", file.read_text(), re.M)[-1]) for file in folder.iterdir()}
        shutil.rmtree(folder)
        return counts.pop(parent), sum(counts.values())

    def calls(self, **what: int) -> Counter[str]:
        """How often which system call was made."""
        with tempfile.NamedTemporaryFile("r") as file:
            self.run(["strace", "-f", "-c", "-U", "calls,name", "-o", file.name], **what)
            rows = (line.split() for line in file if re.match(r"\s*\d+\s+\w+$", line))
            return Counter({name: int(count) for count, name in rows if name != "total"})

    def _is_running(self, times: int) -> bool:
        log = self.world.sandbox.error_log
        return log.exists() and log.read_text().count(_RUNNING) >= times and self._handshake(domain_names(self.count)[-1])

    def _server(self) -> list[str]:
        one = ["StartServers 1", "ThreadsPerChild 8", "MinSpareThreads 1", "MaxSpareThreads 400", "LogLevel mpm_event:notice"]
        return [line for line in super()._server() if line != "StartServers 2"] + one


def _domains(module: str, count: int, stores: Stores) -> dict[str, int]:
    """Instructions of a start with so many domains, and of one reload more; with the larger number also those of a handshake."""
    world = World("bench-gate")
    try:
        stores.copy(count, world.sandbox.store)
        site = Counted(world, module, count).configure()
        # The first start writes md.json for each domain.
        site.run([])
        start, _ = site.instructions()
        reload, _ = site.instructions(reloads=1)
        found = {"a start": start, "a reload": reload - start}
        if count == _FEW:
            few, many = (site.instructions(handshakes=number)[1] for number in (_HANDSHAKES, _MORE_HANDSHAKES))
            found["a handshake"] = (many - few) // (_MORE_HANDSHAKES - _HANDSHAKES)
        return found
    finally:
        world.close()
        world.remove()


def _renewals(module: str, count: int) -> dict[str, int]:
    """What so many first certificates cost."""
    found: dict[str, int] = {}
    for kind in ("calls", "instructions"):
        world = World("bench-gate")
        try:
            pebble = world.pebble(nonce_reject=0, authz_reuse=0, retry_after=0)
            site = Counted(world, module, count).configure(pebble)
            if kind == "calls":
                calls = site.calls(certificates=count)
                found |= {"system calls": calls.total(), "fsyncs": sum(calls[name] for name in _FSYNC)}
                found["requests"] = len(pebble.requests())
            else:
                found["instructions"] = site.instructions(certificates=count)[1]
        finally:
            world.close()
            world.remove()
    return found


def _slope(few: dict[str, int], many: dict[str, int], distance: int) -> dict[str, float]:
    return {what: (many[what] - few[what]) / distance for what in many}


def main() -> int:
    """Prints each figure with its limit. Returns the exit status."""
    if missing := [tool for tool in ("valgrind", "strace") if not shutil.which(tool)]:
        raise SystemExit(f"missing: {' '.join(missing)}. Run: apt-get install {' '.join(missing)}")
    ours = str(Module.named("ours").path)
    stores = Stores()
    slopes, handshakes = {}, {}
    try:
        for module in (NO_MODULE, ours):
            few, many = (_domains(module, count, stores) for count in (_FEW, _MANY))
            handshakes[module] = few.pop("a handshake")
            slopes[module] = _slope(few, many, _MANY - _FEW)
    finally:
        stores.remove()
    renewal = _slope(_renewals(ours, _FEW_RENEWALS), _renewals(ours, _MANY_RENEWALS), _MANY_RENEWALS - _FEW_RENEWALS)

    print(f"{ssl.OPENSSL_VERSION}; instructions for a domain, by the slope from {_FEW} to {_MANY}")
    figures = {}
    for what in slopes[ours]:
        figures[what] = slopes[ours][what] / slopes[NO_MODULE][what]
        print(f"{what}: {slopes[ours][what] / 1e6:.3f} M, without the module {slopes[NO_MODULE][what] / 1e6:.3f} M")
    figures["a handshake"] = handshakes[ours] / handshakes[NO_MODULE]
    print(f"a handshake: {handshakes[ours] / 1e6:.3f} M, without the module {handshakes[NO_MODULE] / 1e6:.3f} M")
    print("a renewal: " + ", ".join(f"{value / 1e6:.1f} M instructions" if what == "instructions" else f"{value:.1f} {what}" for what, value in renewal.items()))
    figures |= {f"a renewal's {what}": renewal[what] for what in ("requests", "fsyncs")}

    missed = 0
    for what, value in figures.items():
        limit = _LIMITS[what]
        is_missed = value > limit.most
        missed += is_missed
        print(f"{what}: {value:.3f} {limit.unit}, at most {limit.most:g}: {'MISSED' if is_missed else 'ok'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
