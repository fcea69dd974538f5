"""`make bench`: measures httpd with several builds of mod_md, side by side on one machine.

    bench.py all                                    the C module and ours, everything, with a table at the end
    bench.py startup  --n 1000,3000 none=none ours=build/mod_md.so
    bench.py status   --n 1000 ...                  milliseconds for md-status and server-status
    bench.py requests --n 1000 ...                  http requests and TLS handshakes per second
    bench.py renew    --n 20 --va-sleep 3 ...       seconds until all domains have their first certificate
    bench.py staple   --seconds 2 ...               handshakes with and without stapling, and the time of a status request
    bench.py live     --seconds 2 ours=build/mod_md.so  handshakes with MDActivation live and restart, and the time of a callback

`none` as a path is httpd with the same certificates, static, and no module: the floor. Modules take turns, in changing
order; a figure is the median of its runs, a ratio is that of the last module to each other one.

A *first* start finds certificates only, and the module writes its md.json for every domain. A *warm* start finds what
the first one left. `renew` begins with an empty store; `status` and `requests` follow a first start.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench_live import live
from bench_staple import staple
from harness import process
from harness.config import apxs, binary
from harness.module import Missing, Module
from harness.pebble import Pebble
from harness.pki import Pki
from harness.process import Proc
from harness.sandbox import USER
from harness.wait import wait
from harness.world import World

NO_MODULE = "none"
HTTPD_MODULES = ["mpm_event", "ssl", "authz_core", "status", "socache_shmcb", "dir", "alias"]
LOAD_SECONDS = 2
"""How long one measurement of requests or handshakes runs."""
SLICES = 3
"""How many of them a run has for each server."""
STATUS_REQUESTS = 11


def domain_names(count: int) -> list[str]:
    return [f"d{number:05d}.bench.example.org" for number in range(count)]


class Stores:
    """Stores in the documented layout with valid certificates: each size is made once and copied from then on."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="mod_md-bench-stores-"))

    def copy(self, count: int, to: Path) -> None:
        made = self._root / str(count)
        if not made.exists():
            self._make(count, made)
        subprocess.run(["cp", "-a", made, to], check=True)

    def remove(self) -> None:
        shutil.rmtree(self._root)

    def _make(self, count: int, store: Path) -> None:
        ca = Pki(self._root / f"pki-{count}").ca("Bench Root").intermediate("Bench CA")
        for name in domain_names(count):
            leaf, folder = ca.leaf(name), store / "domains" / name
            folder.mkdir(parents=True, mode=0o700)
            for file, aspect in ((leaf.chain_file, "pubcert"), (leaf.key_file, "privkey")):
                file.chmod(0o600)
                file.rename(folder / f"{aspect}.secp256r1.pem")
            leaf.cert_file.unlink()


class Site:
    """An httpd with one http and one https host for each of `count` domains, in a world of its own."""

    def __init__(self, world: World, module: str, count: int) -> None:
        self.world, self.module, self.count = world, module, count
        self.http, self.https = world.http_port, world.https_port
        (world.sandbox.docs / "index.html").write_text("ok\n")
        self._parent: Proc | None = None

    def configure(self, pebble: Pebble | None = None, extra: str = "") -> Site:
        lines = self._server() + (self._md(pebble, extra) if self.module != NO_MODULE else [])
        for name in domain_names(self.count):
            lines += self._hosts(name)
        self.world.sandbox.conf.write_text("\n".join(lines) + "\n")
        return self

    def start(self, name: str) -> float:
        """Seconds from the command to the first finished handshake for this name."""
        begin = time.perf_counter()
        done = subprocess.run(self._command("start"), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{self.module} did not start: {done.stdout}{done.stderr}")
        wait(lambda: self._handshake(name), 600, f"start with {self.module}: {self.log()}", every=0.005)
        seconds = time.perf_counter() - begin
        self._parent = Proc.of(int((self.world.sandbox.run / "httpd.pid").read_text()))
        return seconds

    def stop(self) -> None:
        assert self._parent, "start() sets it"
        parent = self._parent
        parent.signal(signal.SIGTERM)
        wait(lambda: not parent.alive, 60, "end of httpd")
        process.reap(parent.pid)

    def memory(self) -> float:
        """MB of all processes together, shared pages counted once."""
        assert self._parent, "start() sets it"
        procs = [self._parent, *process.children(self._parent.pid)]
        texts = [Path(f"/proc/{proc.pid}/smaps_rollup").read_text() for proc in procs]
        return sum(float(_number(r"^Pss:\s+(\d+)", text)) for text in texts) / 1024

    def log(self) -> str:
        file = self.world.sandbox.error_log
        return file.read_text(errors="replace")[-600:] if file.exists() else "no log"

    def certified(self) -> int:
        """How many domains have a certificate, be it staged or active."""
        groups = ("staging", "domains")
        store, file = self.world.sandbox.store, "pubcert.secp256r1.pem"
        return sum(any((store / group / name / file).exists() for group in groups) for name in domain_names(self.count))

    def _command(self, what: str) -> list[str]:
        box = self.world.sandbox
        return [binary(), "-d", str(box.root), "-f", str(box.conf), "-k", what]

    def _handshake(self, name: str) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.https), 5) as sock:
                ssl._create_unverified_context().wrap_socket(sock, server_hostname=name).close()
        except OSError:
            return False
        return True

    def _server(self) -> list[str]:
        box = self.world.sandbox
        return [
            f"ServerRoot {box.root}",
            f"DefaultRuntimeDir {box.run}",
            f"PidFile {box.run}/httpd.pid",
            f"ErrorLog {box.error_log}",
            "LogLevel warn",
            *(f"LoadModule {name}_module {apxs('LIBEXECDIR')}/mod_{name}.so" for name in HTTPD_MODULES),
            f"User {USER}",
            f"Group {USER}",
            "ServerName bench.example.org",
            "StartServers 2",
            "MaxKeepAliveRequests 0",
            "SSLSessionCache none",
            "SSLSessionTickets off",
            f"DocumentRoot {box.docs}",
            f"Listen 127.0.0.1:{self.http}",
            f"Listen 127.0.0.1:{self.https}",
            "<Location /server-status>\nSetHandler server-status\n</Location>",
        ]

    def _md(self, pebble: Pebble | None, extra: str) -> list[str]:
        return [
            f"LoadModule md_module {self.module}",
            "LogLevel md:info",
            # No certificate is due where there is no CA.
            f"MDCertificateAuthority {pebble.directory if pebble else 'https://127.0.0.1:1/dir'}",
            *([f"MDCACertificateFile {pebble.trust}"] if pebble else []),
            "MDCertificateAgreement accepted",
            "MDContactEmail admin@bench.example.org",
            "MDCAChallenges http-01",
            "MDPrivateKeys secp256r1",
            "MDRetryDelay 1s",
            f"MDPortMap http:{self.http} https:{self.https}",
            "<Location /md-status>\nSetHandler md-status\n</Location>",
            extra,
        ]

    def _hosts(self, name: str) -> list[str]:
        body = [f"ServerName {name}", f"DocumentRoot {self.world.sandbox.docs}"]
        stem, managed = self.world.sandbox.domains(name), self.module != NO_MODULE
        static = [f"SSLCertificateFile {stem}/pubcert.secp256r1.pem", f"SSLCertificateKeyFile {stem}/privkey.secp256r1.pem"]
        return [
            *([f"MDomain {name}"] if managed else []),
            f"<VirtualHost *:{self.https}>",
            *body,
            "SSLEngine on",
            *([] if managed else static),
            "</VirtualHost>",
            f"<VirtualHost *:{self.http}>",
            *body,
            "</VirtualHost>",
        ]


@dataclass
class Figure:
    """A line of the table: what was measured, and the values of each module."""

    what: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, float]:
        return {name: median(values) for name, values in self.values.items()}


class Bench:
    """Runs measurements and keeps their figures."""

    def __init__(self, modules: dict[str, str], options: argparse.Namespace) -> None:
        self.modules, self.options = modules, options
        self.stores = Stores()
        self.figures: dict[str, Figure] = {}

    # Measurements

    def startup(self, count: int) -> None:
        """Starts and memory."""
        last = domain_names(count)[-1]
        for name, module in self._turns():
            with self._site(module, count) as site:
                for kind in ("first", "warm"):
                    self._note(f"start, {kind} n={count}", "s", name, site.start(last))
                    # What the children do after the start has to be over.
                    time.sleep(1)
                    self._note(f"memory (PSS, all processes), {kind} n={count}", "MB", name, site.memory())
                    site.stop()

    def status(self, count: int) -> None:
        """Both status handlers."""
        pages = {"/server-status?auto": "server-status?auto", "/md-status": "md-status"}
        for name, module in self._turns():
            with self._site(module, count) as site:
                site.start(domain_names(count)[0])
                time.sleep(2)
                for page, what in pages.items():
                    if module != NO_MODULE or page != "/md-status":
                        self._note(f"{what} n={count}", "ms", name, median(page_milliseconds(site.http, page)))
                site.stop()

    def requests(self, count: int) -> None:
        """Requests per second of the servers. All run at once, and clients turn to another one every few seconds."""
        names = domain_names(count)
        with contextlib.ExitStack() as running:
            sites = {name: running.enter_context(self._site(module, count)) for name, module in self.modules.items()}
            for site in sites.values():
                site.start(names[0])
            time.sleep(2)
            for _ in range(SLICES):
                for name, _ in self._turns():
                    self._note(f"http requests/s n={count}", "/s", name, http_rate(sites[name].http, names[count // 2]))
                    self._note(f"TLS handshakes/s n={count}", "/s", name, handshake_rate(sites[name].https))
            for site in sites.values():
                site.stop()

    def renew(self, count: int) -> None:
        """First certificates from a CA that takes up to `va_sleep` seconds for a validation."""
        options = self.options
        for name, module in self._turns():
            if module == NO_MODULE:
                continue
            with self._world() as world:
                # Pebble's own Retry-After; nothing left to chance, as the modules are compared.
                pebble = world.pebble(va_sleep=options.va_sleep, nonce_reject=0, authz_reuse=0, retry_after=0)
                site = Site(world, module, count).configure(pebble, options.extra)
                begin = time.perf_counter()
                site.start(domain_names(count)[0])
                with contextlib.suppress(AssertionError):
                    wait(lambda: site.certified() == count, options.limit, "certificates", every=0.1)
                seconds = time.perf_counter() - begin
                if (done := site.certified()) < count:
                    print(f"{name}: only {done} of {count} after {options.limit:g} s\n{site.log()}")
                self._note(f"first certificates n={count} va-sleep={options.va_sleep}", "s", name, seconds)
                site.stop()

    # What comes out

    def show(self, since: int = 0) -> None:
        """The lines measured from number `since` on, one sentence each."""
        for figure in list(self.figures.values())[since:]:
            values = "  ".join(f"{name}={value:.3f}{figure.unit}" for name, value in figure.medians.items())
            ratios = "".join(f"  ratio {pair}={value:.3f}" for pair, value in self._ratios(figure).items() if value)
            print(f"{figure.what:44s} {values}{ratios}", flush=True)

    def growth(self, counts: list[int]) -> None:
        """Whether a start's time for each domain depends on their number."""
        if len(counts) < 2:
            return
        print(f"\nSeconds of a start for 1,000 domains, by their number; linear work keeps this constant\n{'':28s}"
              + "".join(f"{count:>10d}" for count in counts) + "   last/first")
        for kind in ("first", "warm"):
            rows = [self.figures[f"start, {kind} n={count}"].medians for count in counts]
            for name in self.modules:
                each = [row[name] / count * 1000 for row, count in zip(rows, counts)]
                print(f"  {kind:6s} {name:19s}" + "".join(f"{value:10.3f}" for value in each) + f"{each[-1] / each[0]:13.2f}")

    def table(self) -> None:
        """All figures with the ratios of the last module to the others."""
        names = list(self.modules)
        pairs = [f"{names[-1]}/{name}" for name in names[:-1]]
        print(f"\n{'median':44s} {'unit':>4s}" + "".join(f"{name:>12s}" for name in (*names, *pairs)))
        for figure in self.figures.values():
            ratios = self._ratios(figure)
            cells = [figure.medians.get(name) for name in names] + [ratios.get(pair) for pair in pairs]
            print(f"{figure.what:44s} {figure.unit:>4s}" + "".join(f"{_cell(cell):>12s}" for cell in cells))

    def _ratios(self, figure: Figure) -> dict[str, float | None]:
        names, found = list(self.modules), figure.medians
        last = found.get(names[-1])
        return {
            f"{names[-1]}/{name}": last / found[name] if last and found.get(name) else None for name in names[:-1]
        }

    def _turns(self) -> Iterator[tuple[str, str]]:
        """Every module once per run; every other run in reverse, so that a machine that slows down favours none."""
        pairs = list(self.modules.items())
        for number in range(self.options.runs):
            yield from pairs if number % 2 == 0 else reversed(pairs)

    def _note(self, what: str, unit: str, name: str, value: float) -> None:
        self.figures.setdefault(what, Figure(what, unit)).values.setdefault(name, []).append(value)

    @contextlib.contextmanager
    def _world(self) -> Iterator[World]:
        world = World("bench")
        try:
            yield world
        finally:
            world.close()
            world.remove()

    @contextlib.contextmanager
    def _site(self, module: str, count: int) -> Iterator[Site]:
        """A site that is not started, with a store of its own."""
        with self._world() as world:
            self.stores.copy(count, world.sandbox.store)
            yield Site(world, module, count).configure()


def page_milliseconds(port: int, page: str) -> list[float]:
    """The times of single requests on one connection."""
    times, connection = [], http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(STATUS_REQUESTS):
        begin = time.perf_counter()
        connection.request("GET", page)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, f"{page} answers {answer.status}"
        times.append((time.perf_counter() - begin) * 1000)
    connection.close()
    return times


def http_rate(port: int, name: str) -> float:
    command = ["wrk", "-t1", "-c16", f"-d{LOAD_SECONDS}", "-H", f"Host: {name}", f"http://127.0.0.1:{port}/index.html"]
    return float(_number(r"Requests/sec:\s+([\d.]+)", _output(command)))


def handshake_rate(port: int) -> float:
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-time", str(LOAD_SECONDS)]
    # Its own seconds are whole ones, and it may run for one more than it was told.
    begin = time.perf_counter()
    text = _output(command)
    return int(_number(r"(\d+) connections in \d+ real seconds", text)) / (time.perf_counter() - begin)


def _output(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    return done.stdout


def _number(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.M)
    assert found, f"no {pattern} in {text}"
    return found[1]


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value >= 1000 else f"{value:.3f}"


def run_all(options: argparse.Namespace) -> None:
    """Runs all measurements, in sizes that the environment may change."""
    ours, theirs = (str(Module.named(name).path) for name in ("ours", "system"))
    (runs,), (options.va_sleep,), (renew_runs,) = _sizes("RUNS", "3"), _sizes("VA_SLEEP", "3"), _sizes("RENEW_RUNS", "1")
    options.runs = runs
    bench = Bench({"none": NO_MODULE, "C": theirs, "ours": ours}, options)
    linear = Bench({"none": NO_MODULE, "ours": ours}, options)
    counts = _sizes("LINEAR", "1000,3000,10000")
    try:
        for what in ("startup", "requests", "status"):
            for count in _sizes("N", "1000"):
                _measure(bench, what, count)
        options.runs = renew_runs
        for count in _sizes("RENEW_N", "20"):
            _measure(bench, "renew", count)
        options.runs = runs
        for count in counts:
            _measure(linear, "startup", count)
        bench.table()
        linear.table()
        linear.growth(counts)
    finally:
        bench.stores.remove()
        linear.stores.remove()


def _sizes(name: str, default: str) -> list[int]:
    """The numbers in BENCH_<name>."""
    return sorted(int(each) for each in os.environ.get(f"BENCH_{name}", default).split(","))


def _measure(bench: Bench, what: str, count: int) -> None:
    done = len(bench.figures)
    getattr(bench, what)(count)
    bench.show(done)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["all", "startup", "status", "requests", "renew", "staple", "live"])
    parser.add_argument("modules", nargs="*", metavar="name=module.so", help="the last one is compared with the others")
    parser.add_argument("--n", default="100", help="numbers of domains, as in 100,1000")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--va-sleep", type=int, default=3, help="seconds, at most, that the CA takes for a validation")
    parser.add_argument("--seconds", type=float, default=2, help="how long each of the staple or live measurements takes")
    parser.add_argument("--limit", type=float, default=300, help="seconds after which renew gives up")
    parser.add_argument("--extra", default="", help="further lines of configuration for renew")
    options = parser.parse_intermixed_args()
    # Servers are ended and stores removed also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if options.what == "all":
            run_all(options)
            return 0
        modules = dict(pair.split("=", 1) for pair in options.modules)
        if not modules:
            parser.error("which modules? As in: none=none C=build/oracle/mod_md.so ours=build/mod_md.so")
        modules = {name: path if path == NO_MODULE else str(Path(path).resolve()) for name, path in modules.items()}
        if options.what in ("staple", "live"):
            {"staple": staple, "live": live}[options.what](modules, options.seconds)
            return 0
        bench = Bench(modules, options)
        counts = [int(each) for each in options.n.split(",")]
        try:
            for count in counts:
                _measure(bench, options.what, count)
            if options.what == "startup":
                bench.growth(counts)
        finally:
            bench.stores.remove()
    except Missing as missing:
        print(f"bench: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
