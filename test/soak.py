"""`make soak`: restarts a server many times under load while it renews certificates, and judges what that did to it.

Two servers run side by side under the same load: one with the module, whose domains are always due for renewal at a slow
Pebble, and one without, with static certificates. Both are restarted gracefully as often. Judged: no crash, no core, no
process left over, no more failed requests than without the module, a parent that does not grow, no surplus threads.
At the end the server with the module is stopped and started, in the middle of renewals.

Variables: SOAK_RESTARTS (200), SOAK_STOPS (20), SOAK_MPM (event; worker, prefork), SOAK_RATE (240 requests per second
and server), SOAK_DOMAINS (16), MD_UNDER_TEST (ours; system).

`soak.py live` is another one: see soak_live.py.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import multiprocessing
import os
import random
import signal
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from harness.httpd import Httpd
from harness.module import Missing, Module
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.wait import TimedOut, wait
from harness.world import World
from soak_live import SoakLive

CLIENTS = 8
LIFE, WINDOW = 400, "99%"
"""A certificate's life in seconds, and the part of it in which it is due: 4 s after it was issued."""
VA_SLEEP = 2
_THREADS = ["ThreadsPerChild 16", "MaxRequestWorkers 64", "MinSpareThreads 16", "MaxSpareThreads 64"]
# A new generation of prefork's begins with StartServers and doubles once a second.
_CHILDREN = ["StartServers 20", "MaxRequestWorkers 24", "MinSpareServers 4", "MaxSpareServers 24"]
_ROOM = {"event": _THREADS, "worker": _THREADS, "prefork": _CHILDREN}
WARM_UP = 20
"""Restarts in which the parent may grow: caches fill, the heap finds its size."""
MAX_GROWTH = 1.0
"""KB per restart."""
JUDGED = 50
"""Fewer values than this say nothing about a growth of less than a page each."""
WORKERS = 8
"""MDRenewWorkers' default."""
MAX_STOP = 5.0
"""Seconds; httpd kills children that need longer than 9."""


@dataclass
class Plan:
    """Sizes of this run."""

    restarts: int = int(os.environ.get("SOAK_RESTARTS", "200"))
    stops: int = int(os.environ.get("SOAK_STOPS", "20"))
    mpm: str = os.environ.get("SOAK_MPM") or "event"
    rate: int = int(os.environ.get("SOAK_RATE", "240"))
    domains: int = int(os.environ.get("SOAK_DOMAINS", "16"))

    @property
    def names(self) -> list[str]:
        return [f"d{number}.example.org" for number in range(self.domains)]

    @property
    def in_flight(self) -> int:
        """How many restarts have to meet a renewal."""
        return self.restarts // 4


# Load


class Client:
    """Asks one server in turn over a new TLS connection and over one that it keeps."""

    def __init__(self, port: int, names: Iterator[str], counts: Counter[str]) -> None:
        self.port, self.names, self.counts = port, names, counts
        self.context = ssl._create_unverified_context()
        self._kept: http.client.HTTPConnection | None = None
        self._kept_name = ""

    def fresh(self) -> None:
        """A request on a connection of its own."""
        name = next(self.names)
        self._counted("new", lambda: self._ask(self._connect(name), name, close=True))

    def kept(self) -> None:
        """A request on the kept connection.

        The server may close an idle connection whenever it likes: as every client does, ask again on a new one.
        """
        if self._kept:
            try:
                self._ask(self._kept, self._kept_name)
                self.counts["kept"] += 1
                return
            except (ConnectionError, http.client.NotConnected, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                self.counts["reopened"] += 1
            except Exception as failure:
                self._failed(failure)
            self.drop()
        self._counted("kept", self._open_and_ask)

    def drop(self) -> None:
        if self._kept:
            self._kept.close()
        self._kept = None

    def _open_and_ask(self) -> None:
        self._kept_name = next(self.names)
        self._kept = self._connect(self._kept_name)
        try:
            self._ask(self._kept, self._kept_name)
        except Exception:
            self.drop()
            raise

    def _counted(self, kind: str, act: Callable[[], None]) -> None:
        try:
            act()
            self.counts[kind] += 1
        except Exception as failure:
            self._failed(failure)

    def _failed(self, failure: Exception) -> None:
        self.counts["failed"] += 1
        self.counts[f"failed: {type(failure).__name__} {failure}"[:120]] += 1

    def _connect(self, name: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(name, self.port, timeout=30)
        # After an answer that announced the end of the connection: NotConnected, not a plain one to port 80.
        connection.auto_open = 0
        plain = socket.create_connection(("127.0.0.1", self.port), 30)
        try:
            connection.sock = self.context.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise
        return connection

    def _ask(self, connection: http.client.HTTPConnection, name: str, close: bool = False) -> None:
        connection.request("GET", "/", headers={"Connection": "close"} if close else {})
        answer = connection.getresponse()
        body = answer.read().decode()
        if close:
            connection.close()
        if (answer.status, body) != (200, name):
            raise ValueError(f"{answer.status} {body[:60]!r}")


class Load:
    """Clients in a process of their own."""

    def __init__(self, port: int, names: list[str], rate: int) -> None:
        self._port, self._names, self._rate = port, names, rate
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=self._work, args=(theirs,), daemon=True)
        self._process.start()
        self._begin = time.monotonic()
        self.seconds = 0.0

    def stop(self) -> Counter[str]:
        """The sum of what the clients saw."""
        self._pipe.send("stop")
        counts: Counter[str] = self._pipe.recv()
        self.seconds = time.monotonic() - self._begin
        self._process.join()
        return counts

    def _work(self, pipe: Connection) -> None:
        stopped = threading.Event()
        counts: list[Counter[str]] = [Counter() for _ in range(CLIENTS)]
        threads = [threading.Thread(target=self._client, args=(number, counts[number], stopped)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        # An interrupt reaches the whole group; this process ends when it is told to by the pipe.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        # Without this end of its own the pipe also tells that the other process is gone.
        self._pipe.close()
        try:
            with contextlib.suppress(EOFError):
                pipe.recv()
        finally:
            stopped.set()
        for thread in threads:
            thread.join()
        with contextlib.suppress(BrokenPipeError):
            pipe.send(sum(counts, Counter()))

    def _client(self, number: int, counts: Counter[str], stopped: threading.Event) -> None:
        names = itertools.cycle(self._names[number % len(self._names) :] + self._names[: number % len(self._names)])
        client = Client(self._port, names, counts)
        asks = itertools.cycle((client.fresh, client.kept))
        due, pause = time.monotonic() + random.random() / 10, CLIENTS / self._rate
        while not stopped.wait(max(0.0, due - time.monotonic())):
            # A server that was slow for a moment is not punished by a burst.
            due = max(due + pause, time.monotonic() - 1)
            next(asks)()
        client.drop()


# The two servers


@dataclass
class Subject:
    """A server under observation."""

    world: World
    httpd: Httpd
    names: list[str]
    rss: list[int] = field(default_factory=list)
    private: list[int] = field(default_factory=list)
    threads: Counter[int] = field(default_factory=Counter)
    parent_threads: int = 1
    children: int = 0

    def observe(self) -> None:
        """Note memory, threads and children; the old generation is gone, the new one may still grow."""
        parent = self.httpd.memory()["parent"][0]
        self.rss.append(parent.rss)
        self.private.append(parent.private)
        children = self.httpd.children()
        self.children = max(self.children, len(children))
        for proc in children:
            self.threads[_threads(proc.pid)] += 1
        assert self.httpd.parent
        self.parent_threads = max(self.parent_threads, _threads(self.httpd.parent.pid))

    def serves(self) -> bool:
        """True if every domain answers with its page; a crash shows in the log."""
        return all(self.httpd.get(f"https://{name}/").status == 200 for name in self.names)

    @property
    def crashes(self) -> list[str]:
        logged = [str(line) for line in self.httpd.log.find("exit signal")]
        return logged + [str(core) for core in self.httpd.crashes()]


class Renewals:
    """Renewals by the server's jobs and the CA's log."""

    def __init__(self, sandbox: Sandbox, pebble: Pebble, names: list[str]) -> None:
        self.sandbox, self.pebble, self.names = sandbox, pebble, names

    def at_work(self, since: float) -> list[str]:
        """Domains whose renewal this generation has taken up and not finished; `since` is its beginning (time.time())."""
        return [name for name in self.names if self._is_at_work(name, since)]

    def finished(self) -> int:
        """Certificates that were asked for with a CSR so far."""
        return len(self.pebble.requests("POST /finalize-order"))

    def _is_at_work(self, name: str, since: float) -> bool:
        file = self.sandbox.staging(name) / "job.json"
        try:
            if file.stat().st_mtime < since:
                return False
            job = self.sandbox.job(name)
        except (FileNotFoundError, ValueError):
            return False
        entries = job.get("log", {}).get("entries", [])
        return not job.get("finished") and bool(entries) and entries[0]["type"] in ("starting", "progress")


def with_module(plan: Plan) -> tuple[Subject, Renewals]:
    """A server whose domains have certificates and are due again."""
    world = World("soak")
    pebble = world.pebble(profiles={"default": LIFE}, va_sleep=VA_SLEEP, authz_reuse=0)
    httpd = world.httpd(pebble, plan.mpm)
    httpd.config.log_level = "notice md:info"
    httpd.config.add("MDPrivateKeys secp256r1", f"MDRenewWindow {WINDOW}")
    for name in plan.names:
        httpd.config.managed(name)
    _common(httpd)
    httpd.start().obtain(*plan.names, limit=180)
    subject = Subject(world, httpd, plan.names)
    wait(subject.serves, 30, "the first certificates in service")
    return subject, Renewals(world.sandbox, pebble, plan.names)


def without_module(plan: Plan) -> Subject:
    """A server without the module: its hosts have static certificates of the same key type."""
    world = World("soak-none", Module.absent())
    httpd = world.httpd(mpm=plan.mpm)
    httpd.config.log_level = "notice"
    ca = world.pki.ca("Soak Root").intermediate("Soak CA")
    for name in plan.names:
        leaf = ca.leaf(name)
        httpd.config.http(name)
        httpd.config.https(name, f"SSLCertificateFile {leaf.chain_file}", f"SSLCertificateKeyFile {leaf.key_file}")
    _common(httpd)
    subject = Subject(world, httpd.start(), plan.names)
    wait(subject.serves, 30, "static certificates in service")
    return subject


def _common(httpd: Httpd) -> None:
    # Room for all clients, so that no connection is closed for want of threads. A kept one occupies a child of prefork's.
    httpd.config.add("KeepAlive On", "MaxKeepAliveRequests 0", "KeepAliveTimeout 2", *_ROOM[httpd.config.mpm])


# The run


class Soak:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.verdicts: list[tuple[bool, str]] = []
        self.in_flight = self.stopped_in_flight = 0
        self.stop_seconds: list[float] = []

    def run(self) -> bool:
        """True if everything is as it should be."""
        plan, begin = self.plan, time.monotonic()
        print(f"{plan.restarts} graceful restarts, mpm {plan.mpm}, {plan.domains} domains, {CLIENTS} clients per server", flush=True)
        plain = without_module(plan)
        try:
            subject, renewals = with_module(plan)
            try:
                print(f"module {subject.world.module.path}; servers are up after {time.monotonic() - begin:.0f} s", flush=True)
                self._restarts(subject, plain, renewals)
                self._stops(subject, renewals)
                self._judge_end(subject, plain)
            finally:
                self._close(subject)
        finally:
            self._close(plain)
        print(f"\n{time.monotonic() - begin:.0f} s")
        for good, text in self.verdicts:
            print(f"{'ok    ' if good else 'FAILED'}  {text}")
        passed = all(good for good, _ in self.verdicts)
        print(f"soak {'passed' if passed else 'FAILED'}: {plan.restarts} restarts, {self.in_flight} with renewals in flight")
        return passed

    def _restarts(self, subject: Subject, plain: Subject, renewals: Renewals) -> None:
        loads = [Load(each.httpd.config.https_port, each.names, self.plan.rate) for each in (subject, plain)]
        issued = renewals.finished()
        pair = ThreadPoolExecutor(2)
        try:
            generation = time.time()
            for number in range(1, self.plan.restarts + 1):
                busy = self._meet_renewal(renewals, generation)
                self.in_flight += bool(busy)
                generation = time.time()
                list(pair.map(Httpd.graceful, (subject.httpd, plain.httpd)))
                for each in (subject, plain):
                    each.observe()
                print(
                    f"restart {number:3d}: renewals in flight {len(busy):2d}; parent with module: resident {subject.rss[-1]} KB, "
                    f"private {subject.private[-1]} KB; without: {plain.rss[-1]}, {plain.private[-1]}",
                    flush=True,
                )
        finally:
            pair.shutdown()
            counts = [load.stop() for load in loads]
        self._judge_load(loads, counts)
        self._judge_renewals(renewals.finished() - issued)
        self._judge_memory(subject, plain)
        self._judge_threads(subject, plain)

    def _meet_renewal(self, renewals: Renewals, generation: float) -> list[str]:
        """Wait until this generation works on a renewal, let that come to some step, and tell what is at work then."""
        with contextlib.suppress(TimedOut):
            wait(lambda: renewals.at_work(generation), 3, "renewal")
        time.sleep(random.random() * 0.5)
        return renewals.at_work(generation)

    def _stops(self, subject: Subject, renewals: Renewals) -> None:
        """Stop and start, without load: what clients lose by a stop is httpd's own."""
        generation = 0.0
        for _ in range(self.plan.stops):
            busy = self._meet_renewal(renewals, generation)
            self.stopped_in_flight += bool(busy)
            begin = time.monotonic()
            subject.httpd.stop()
            self.stop_seconds.append(time.monotonic() - begin)
            generation = time.time()
            subject.httpd.start()
            wait(subject.serves, 30, "all domains in service after a start")
        if self.stop_seconds:
            longest = max(self.stop_seconds)
            self._say(
                longest < MAX_STOP,
                f"{self.plan.stops} stops and starts, {self.stopped_in_flight} with renewals in flight: every domain served, longest "
                f"stop {longest:.1f} s (limit {MAX_STOP:g})",
            )

    # Verdicts

    def _say(self, good: bool, text: str) -> None:
        self.verdicts.append((good, text))

    def _judge_load(self, loads: list[Load], counts: list[Counter[str]]) -> None:
        for load, count, what in zip(loads, counts, ("with", "without")):
            rate = (count["new"] + count["kept"]) / load.seconds
            print(
                f"{what} the module: {count['new'] + count['kept']} requests ({rate:.0f}/s), {count['new']} on new connections, "
                f"{count['reopened']} kept connections found closed, {count['failed']} failed"
            )
            for text in (key for key in count if key.startswith("failed: ")):
                print(f"  {count[text]} x {text.removeprefix('failed: ')}")
            if what == "with":
                wanted = min(200, self.plan.rate * 0.8)
                share = count["new"] / max(1, count["new"] + count["kept"])
                self._say(rate >= wanted, f"load {rate:.0f} requests/s (wanted {wanted:.0f}), {share:.0%} of them on new connections")
        ours, plain = (count["failed"] for count in counts)
        self._say(ours <= plain, f"failed requests: {ours} with the module, {plain} without")

    def _judge_renewals(self, issued: int) -> None:
        self._say(
            self.in_flight >= self.plan.in_flight,
            f"renewals in flight during {self.in_flight} of {self.plan.restarts} restarts (wanted {self.plan.in_flight})",
        )
        self._say(issued > 0, f"{issued} renewals came as far as the CSR meanwhile")

    def _judge_memory(self, subject: Subject, plain: Subject) -> None:
        for what, values in (("resident", subject.rss), ("private", subject.private), ("resident without the module", plain.rss)):
            rest = values[WARM_UP:]
            print(f"{what} KB after each restart: {' '.join(map(str, values))}")
            if len(rest) < JUDGED:
                print(f"growth is not judged: {WARM_UP + JUDGED} restarts are needed")
                continue
            growth = slope(rest)
            text = f"{what} size grows by {growth:.2f} KB per restart after the first {WARM_UP}"
            if what == "resident":
                self._say(growth < MAX_GROWTH, f"{text} (limit {MAX_GROWTH:g})")
            else:
                print(text)

    def _judge_threads(self, subject: Subject, plain: Subject) -> None:
        most, base = max(subject.threads), max(plain.threads)
        # The watchdog's own thread and the workers, in one child.
        limit = base + WORKERS + 2
        self._say(most <= limit, f"threads of a child: at most {most}, without the module {base} (limit {limit})")
        self._say(subject.parent_threads == 1, f"threads of the parent: {subject.parent_threads}")
        print(f"children after a restart: at most {subject.children}, without the module {plain.children}")

    def _judge_end(self, subject: Subject, plain: Subject) -> None:
        for each, what in ((subject, "with"), (plain, "without")):
            crashes = each.crashes
            complaints = each.world.complaints()
            for complaint in complaints[:40]:
                print(complaint)
            if each is subject:
                self._say(not crashes, f"{len(crashes)} crashes")
                self._say(not complaints, f"{len(complaints)} complaints: warnings, cores, processes left over")
            elif complaints:
                print(f"(those {len(complaints)} are of the server without the module, and not judged)")

    def _close(self, subject: Subject) -> None:
        subject.world.close()
        if all(good for good, _ in self.verdicts) and sys.exc_info()[0] is None:
            subject.world.remove()
        else:
            print(f"kept: {subject.world.sandbox.root}")


def slope(values: list[int]) -> float:
    """Least squares: by how much a value exceeds the one before it."""
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    top = sum((at - middle) * (value - mean) for at, value in enumerate(values))
    return top / sum((at - middle) ** 2 for at in range(len(values)))


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(Path("/proc") / str(pid) / "task"))
    except FileNotFoundError:
        return 0


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        soak = SoakLive() if sys.argv[1:] == ["live"] else Soak(Plan())
        return 0 if soak.run() else 1
    except Missing as missing:
        print(f"soak: {missing}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
