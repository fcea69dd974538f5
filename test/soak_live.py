"""`soak.py live`: certificates change under handshakes at full speed, first by renewals and then many times by hand.

Judged: no handshake fails, that is every key fits and every chain leads to the root of its own generation; how long it takes
from the moment that a set is written until the last child serves it; children that do not grow with the number of changes.

Variables: SOAK_RENEWALS (50), SOAK_SWAPS (1000), SOAK_MPM (event; worker, prefork).
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.certificate import Certificate
from harness.httpd import Httpd
from harness.live import LiveSets
from harness.wait import wait
from harness.world import World

RENEWALS = int(os.environ.get("SOAK_RENEWALS", "50"))
SWAPS = int(os.environ.get("SOAK_SWAPS", "1000"))
MPM = os.environ.get("SOAK_MPM") or "event"
NAME = "live.example.org"
SOON = 2.0
"""Seconds in which the last child has to serve what was written."""
MAX_GROWTH = 1.0
"""KB per change of the largest child in the second half: until then its heap settles, as each thread frees what others made."""
GENERATIONS = 8
PAUSE = 0.05
"""Seconds between two changes by hand: far more often than handshakes come to a child that has nothing to do."""
_PREFORK = ["StartServers 8", "MinSpareServers 8", "MaxSpareServers 8", "MaxRequestWorkers 8"]
_THREADS = ["StartServers 4", "ThreadsPerChild 16", "MaxRequestWorkers 64", "MinSpareThreads 64", "MaxSpareThreads 64"]
_SERVES = re.compile(r"^\[(.+?)\] .*\[pid (\d+).*: this process serves what went live, serials (.+)$", re.M)


class Clients:
    """Clients of all kinds, of which each verifies name, chain and key, and makes a new connection each time."""

    def __init__(self, port: int, roots: Path) -> None:
        self.counts: Counter[str] = Counter()
        self._port, self._roots = port, roots
        self._ended = threading.Event()

    @contextmanager
    def working(self) -> Iterator[Counter[str]]:
        threads = [threading.Thread(target=self._repeat, args=each) for each in self._kinds().items()]
        for thread in threads:
            thread.start()
        try:
            yield self.counts
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def _kinds(self) -> dict[str, Callable[[], int]]:
        to, roots = f"127.0.0.1:{self._port}", str(self._roots)
        openssl = ["openssl", "s_client", "-connect", to, "-servername", NAME, "-verify_hostname", NAME, "-CAfile", roots]
        openssl += ["-verify_return_error", "-brief"]
        curl = ["curl", "--silent", "--show-error", "--noproxy", "*", "--cacert", roots, "--connect-to", f"::{to}", "--fail"]
        curl += ["--header", "Connection: close", "--output", "/dev/null", f"https://{NAME}/?[1-20]"]
        kinds: dict[str, Callable[[], int]] = {
            "openssl, TLS 1.2": lambda: self._run([*openssl, "-tls1_2"]),
            "openssl, TLS 1.3": lambda: self._run([*openssl, "-tls1_3"]),
            "curl": lambda: 20 * self._run(curl),
        }
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=roots)
            context.minimum_version = context.maximum_version = version
            kinds[f"Python, {version.name}"] = lambda context=context: self._python(context)  # type: ignore[misc]
        return kinds

    def _repeat(self, kind: str, ask: Callable[[], int]) -> None:
        while not self._ended.is_set():
            try:
                self.counts[kind] += ask()
            except Exception as failure:
                self.counts["failed"] += 1
                self.counts[f"failed: {kind}: {failure}"[:300]] += 1

    def _run(self, command: list[str]) -> int:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        if done.returncode:
            raise ValueError(done.stderr.decode(errors="replace")[-200:])
        return 1

    def _python(self, context: ssl.SSLContext) -> int:
        with socket.create_connection(("127.0.0.1", self._port), 30) as plain, context.wrap_socket(plain, server_hostname=NAME) as secure:
            leaf = Certificate.from_der(secure.getpeercert(binary_form=True) or b"")
        self.counts[f"serial {leaf.serial}"] += 1
        return 1


class SoakLive:
    def __init__(self) -> None:
        self.verdicts: list[tuple[bool, str]] = []

    def run(self) -> bool:
        """True if everything is as it should be."""
        begin = time.monotonic()
        for part in (self._renewals, self._swaps):
            world = World("soak-live")
            try:
                part(world)
                complaints = world.complaints()
                print("\n".join(complaints[:40]))
                self._say(not complaints, f"{len(complaints)} complaints: warnings, crashes, processes left over")
            finally:
                world.close()
            if all(good for good, _ in self.verdicts):
                world.remove()
            else:
                print(f"kept: {world.sandbox.root}")
        print(f"\n{time.monotonic() - begin:.0f} s")
        for good, text in self.verdicts:
            print(f"{'ok    ' if good else 'FAILED'}  {text}")
        return all(good for good, _ in self.verdicts)

    def _renewals(self, world: World) -> None:
        """A domain that is always due at a CA."""
        pebble = world.pebble(authz_reuse=100)
        httpd = self._server(world.httpd(pebble, MPM), "MDPrivateKeys rsa2048 secp256r1", "MDRenewWindow 100d")
        httpd.config.log_level = "notice md:debug"
        httpd.start().wait_log("MD0036")
        wait(lambda: len(_served(httpd)) >= len(httpd.children()), 30, "first set in all children")
        written: dict[str, float] = {}
        file = world.sandbox.store / "live" / NAME / "live.json"

        def are_enough() -> bool:
            stat, text = file.stat(), file.read_text()
            chains = [Certificate.chain(pair["chain"])[0].serial for pair in json.loads(text)["pairs"]]
            # Replaced meanwhile: the next look has it.
            if file.stat().st_ino == stat.st_ino:
                written.setdefault(" ".join(chains), stat.st_mtime)
            return len(written) > RENEWALS

        with Clients(httpd.config.https_port, pebble.root).working() as counts:
            wait(are_enough, 60 + 20 * RENEWALS, f"{RENEWALS} renewals")
            last = list(written)[-1]
            wait(lambda: {pid for _, pid, serials in _served(httpd) if serials == last} or are_enough(), 30, "the last set")
            time.sleep(SOON)
        self._judge(counts, f"{len(written)} sets of renewals")
        self._judge_times(httpd, written)

    def _judge_times(self, httpd: Httpd, written: dict[str, float]) -> None:
        """From the time of the file until the last child has that set, or a later one."""
        served, order, took = _served(httpd), list(written), []
        numbers = {serials: number for number, serials in enumerate(order)}
        processes = {proc.pid for proc in httpd.children()}
        # The last ones may not have had their time.
        for number, serials in enumerate(order[:-2]):
            each = {pid: min((at for at, by, what in served if by == pid and numbers.get(what, -1) >= number), default=None) for pid in processes}
            if None in each.values():
                self._say(False, f"children that never served set {number}: {[pid for pid, at in each.items() if at is None]}")
                continue
            took.append(max(at for at in each.values() if at is not None) - written[serials])
        if not took:
            self._say(False, "too few sets to judge how long they take")
            return
        took.sort()
        tenths = [took[min(len(took) - 1, len(took) * tenth // 10)] for tenth in (0, 5, 9, 10)]
        text = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in zip(("least", "median", "9 of 10", "most"), tenths))
        self._say(took[-1] <= SOON, f"until the last of {len(processes)} children serves a set: {text} (limit {SOON:g} s)")

    def _swaps(self, world: World) -> None:
        """Sets of several CAs in turn: a chain of one generation with a leaf of another leads nowhere."""
        httpd = self._server(world.httpd(mpm=MPM), "MDPrivateKeys rsa2048 secp256r1", "MDRenewMode manual")
        httpd.config.log_level = "warn"
        # Else each thread has a heap of its own, of which each takes hundreds of changes to find its size.
        httpd.env["MALLOC_ARENA_MAX"] = "1"
        sets, roots = LiveSets(httpd), world.sandbox.root / "roots.pem"
        cas = [world.pki.ca(f"Root {number}").intermediate(f"CA {number}") for number in range(GENERATIONS)]
        roots.write_text("".join(ca.parent.certificate.pem for ca in cas if ca.parent))
        begin = datetime.now(UTC) - timedelta(days=1)
        leaves = [[ca.leaf(NAME, key=key, not_before=begin) for key in ("rsa2048", "p256")] for ca in cas]
        httpd.start()
        sets.publish(NAME, *leaves[0])
        wait(lambda: all(httpd.get(f"https://{NAME}/").status == 200 for _ in range(20)), 30, "first set")
        sizes: list[list[int]] = []
        with Clients(httpd.config.https_port, roots).working() as counts:
            for number in range(1, SWAPS + 1):
                sets.publish(NAME, *leaves[number % GENERATIONS])
                time.sleep(PAUSE)
                if number % max(1, SWAPS // 10) == 0:
                    sizes.append(sorted(memory.rss for memory in httpd.memory()["children"]))
                    print(f"change {number}: children have {' '.join(map(str, sizes[-1]))} KB", flush=True)
        self._judge(counts, f"{SWAPS} changes by hand")
        seen = {leaf.certificate.serial for pair in leaves for leaf in pair} & {key.removeprefix("serial ") for key in counts}
        self._say(len(seen) >= GENERATIONS, f"{len(seen)} certificates of {GENERATIONS} generations were seen")
        middle = len(sizes) // 2
        growth = (max(sizes[-1]) - max(sizes[middle])) / max(1, SWAPS * (len(sizes) - 1 - middle) // len(sizes))
        self._say(growth < MAX_GROWTH, f"the largest child grows by {growth:.2f} KB per change (limit {MAX_GROWTH:g})")

    def _server(self, httpd: Httpd, *lines: str) -> Httpd:
        httpd.config.add("MDActivation live", *lines, *(_PREFORK if MPM == "prefork" else _THREADS)).managed(NAME)
        return httpd

    def _judge(self, counts: Counter[str], what: str) -> None:
        kinds = {kind: count for kind, count in counts.items() if not kind.startswith(("serial ", "failed"))}
        for text in (key for key in counts if key.startswith("failed: ")):
            print(f"  {counts[text]} x {text.removeprefix('failed: ')}")
        each = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        self._say(counts["failed"] == 0 and min(kinds.values(), default=0) > 0, f"{what}: {counts['failed']} handshakes failed of {each}")

    def _say(self, good: bool, text: str) -> None:
        self.verdicts.append((good, text))


def _served(httpd: Httpd) -> list[tuple[float, int, str]]:
    """Time, child and serials of each set that a child has taken."""
    found = _SERVES.findall(httpd.sandbox.error_log.read_text(errors="replace"))
    return [(datetime.strptime(at, "%a %b %d %H:%M:%S.%f %Y").timestamp(), int(pid), serials) for at, pid, serials in found]
