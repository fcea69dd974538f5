"""An Apache httpd: start, stop, restart, and requests to it."""

from __future__ import annotations

import contextlib
import re
import resource
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from . import process
from .config import Config, binary
from .http import Response, request, request_h2, send
from .log import Log
from .module import Module
from .ports import accepts, users
from .process import Proc
from .sandbox import Sandbox
from .tls import Client, Served, handshake
from .wait import TimedOut, wait

T = TypeVar("T")
_RUNNING = "resuming normal operations"
RENEWER = "md-renew"
"""Name of our threads that work on renewals."""


class StartFailed(AssertionError):
    """The server did not start; the text is what it wrote to the terminal and to its log."""


class Died(AssertionError):
    """The server ended by itself; the text is the end of its log."""


@dataclass(frozen=True)
class Checked:
    """The answer of httpd to a command."""

    ok: bool
    text: str


@dataclass(frozen=True)
class Memory:
    """KiB of one process: resident, and what it shares with nobody."""

    rss: int
    private: int


class Httpd:
    """A server in its sandbox. Its configuration is written anew at every start and restart."""

    def __init__(self, sandbox: Sandbox, module: Module, http: int, https: int, admin: int, mpm: str = "event") -> None:
        self.sandbox, self.module = sandbox, module
        self.config = Config(sandbox, module, http, https, admin, mpm)
        self.log = Log(sandbox.error_log)
        self.log.expects(*module.usual_warnings, optional=True)
        self.env: dict[str, str] = dict(module.env)
        self.prefix: list[str] = []
        """A command that runs the server, such as strace with its options."""
        self.arguments: list[str] = []
        """Further arguments of httpd."""
        self.foreground = False
        """Start as one process that stays, instead of one that tries the configuration and another that serves."""
        self._started: subprocess.Popen[bytes] | None = None
        self.parent: Proc | None = None

    def use(self, module: Module) -> Httpd:
        """From the next start on load this module, on the same store."""
        if not self.module.is_ours:
            for core in self.sandbox.cores.iterdir():
                core.unlink()
        self.module = self.config.module = module
        self.log.expects(*module.usual_warnings, optional=True)
        return self

    # Life

    def start(self) -> Httpd:
        """Start as a daemon and return when it serves."""
        mark = self.log.count(_RUNNING)
        done = self._run("-D", "FOREGROUND", stays=True) if self.foreground else self._run("-k", "start")
        if done.ok and self._came_up(mark):
            return self
        in_use = re.search(r"could not bind to address \S+:(\d+)", done.text)
        others = users(int(in_use[1])) if in_use else []
        self._end_family()
        raise StartFailed("\n".join([done.text, *others, self.log.tail()]))

    def fails_to_start(self) -> str:
        """Start in the expectation that it fails; returns the terminal's and the log's text."""
        try:
            self.start()
        except StartFailed as failure:
            return str(failure)
        raise AssertionError("the server started although it should not")

    def stop(self) -> None:
        """SIGTERM, until the last process is gone."""
        self._settle()
        self._stop(signal.SIGTERM)

    def stop_gracefully(self) -> None:
        """SIGWINCH: requests under way are finished first."""
        self._stop(signal.SIGWINCH)

    def kill(self) -> None:
        """SIGKILL to all its processes at once, as if the machine lost power."""
        if self.parent:
            # The parent first: it would replace a child that dies.
            procs = [self.parent, *process.descendants(self.parent.pid)]
            for proc in procs:
                proc.signal(signal.SIGKILL)
            process.end(procs, grace=0)
            self._end_family()

    def graceful(self, draining: bool = False) -> Httpd:
        """Graceful restart (SIGUSR1). Returns when the new generation serves and the old one is gone.

        `draining`: do not wait for the old children, because the test keeps a connection to them.
        """
        return self._again(signal.SIGUSR1, draining)

    def restart(self) -> Httpd:
        """Restart at once (SIGHUP)."""
        self._settle()
        return self._again(signal.SIGHUP, False)

    def configtest(self) -> Checked:
        """`httpd -t`, in this or any state of the server."""
        return self._run("-t")

    def directives(self) -> str:
        """`httpd -L`: every directive that the loaded modules know, and where it is allowed."""
        return self._run("-L").text

    @property
    def running(self) -> bool:
        return self.parent is not None and self.parent.alive

    # Questions

    def wait(self, condition: Callable[[], T], limit: float = 60.0, what: str = "") -> T:
        """Wait for a condition as long as the server lives; a failure shows the end of its log."""

        def ask() -> T:
            if not self.running:
                raise Died(self.log.tail())
            return condition()

        try:
            return wait(ask, limit, what)
        except TimedOut as late:
            raise TimedOut(f"{late}\n--- error log\n{self.log.tail()}") from None

    def wait_log(self, what: str, limit: float = 60.0, times: int = 1) -> None:
        """Wait until a message number or phrase was logged so many times."""
        self.wait(lambda: self.log.count(what) >= times, limit, f"log {what}")

    def get(self, url: str, **options: Any) -> Response:
        """Sends a request to the vhost of the URL's name; options as in `http.request` (`ca=`, `headers=`, `method=`, `address=`)."""
        port = self.config.https_port if url.startswith("https:") else self.config.http_port
        return request(url, port, **options)

    def get_h2(self, url: str) -> Response:
        """Sends a request over HTTP/2 to the https vhost of the URL's name."""
        return request_h2(url, self.config.https_port)

    def send(self, data: bytes) -> bytes:
        """Exactly these bytes to the http port; what comes back until the server closes."""
        return send(data, self.config.http_port)

    def admin(self, path: str, **options: Any) -> Response:
        """A request to the host that has md-status and server-status only; options as in `http.request`."""
        return request(f"http://admin.invalid{path}", self.config.admin_port, **options)

    def md_status(self, domain: str | None = None) -> dict[str, Any]:
        """md-status of one domain, or the listing."""
        answer = self.admin(f"/md-status/{domain or ''}")
        assert answer.status == 200, answer
        return dict(answer.json())

    def served(self, name: str | None, **options: Any) -> Served:
        """The chain that a client with this SNI gets; options as in `tls.handshake` (`tls=`, `sigalgs=`, `ca=`)."""
        return handshake(self.config.https_port, name, **options)

    def client(self, tls: str, tickets: bool = True) -> Client:
        """A TLS client of the https port, whose connections and sessions are kept; arguments as of `tls.Client`."""
        return Client(self.config.https_port, tls, tickets)

    def children(self) -> list[Proc]:
        """The server's child processes."""
        return process.children(self.parent.pid) if self.parent else []

    def renewing(self) -> list[Proc]:
        """Children of which threads of ours work on renewals."""
        return [proc for proc in self.children() if any(each.name == RENEWER for each in process.threads(proc.pid))]

    def memory(self) -> dict[str, list[Memory]]:
        """Memory of the `parent` (one entry) and of its `children`."""
        assert self.parent, "the server was not started"
        return {"parent": [_memory(self.parent.pid)], "children": [_memory(proc.pid) for proc in self.children()]}

    # Certificates

    def wait_staged(self, *domains: str, limit: float = 90.0) -> Httpd:
        """Wait until the renewals of these domains are finished: their certificates are in staging."""
        for domain in domains:
            self.wait(partial(self._is_staged, domain), limit, f"certificate for {domain}")
        return self

    def obtain(self, *domains: str, limit: float = 90.0) -> Httpd:
        """Wait for the certificates of these domains and activate them by a graceful restart."""
        return self.wait_staged(*domains, limit=limit).graceful()

    # Inside

    def _is_staged(self, domain: str) -> bool:
        return bool(self.md_status(domain).get("renewal", {}).get("finished"))

    def _run(self, *args: str, stays: bool = False) -> Checked:
        conf = str(self.config.write())
        # The output goes to a file: a pipe would stay open as long as the daemon.
        console = self.sandbox.logs / "console"
        with console.open("w+") as out:
            command = [*self.prefix, binary(), "-d", str(self.sandbox.root), "-f", conf, *self.arguments, *args]
            httpd = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=process.environment(**self.env),
                preexec_fn=allow_cores,
                # prefork ends its process group when it stops, which in the foreground would be that of the tests.
                start_new_session=stays,
            )
        if stays:
            self._started = httpd
            return Checked(True, "")
        self._started = None
        code = httpd.wait(120)
        text = console.read_text(errors="replace")
        self.log.add_console(text)
        return Checked(code == 0, text)

    def _came_up(self, mark: int) -> bool:
        def outcome() -> str | None:
            if not self._maybe_family() and (self._started is None or self._started.poll() is not None):
                return "dead"
            # A server of one process does not say that it runs, and has a number before it serves.
            pid = self.sandbox.run / "httpd.pid"
            runs = self.log.count(_RUNNING) > mark or ("-X" in self.arguments and pid.exists() and pid.stat().st_size > 0)
            serves = runs and accepts(self.config.admin_port)
            return "up" if serves else None

        if wait(outcome, 60, "start of httpd") == "dead":
            return False
        self.parent = Proc.of(int((self.sandbox.run / "httpd.pid").read_text()))
        return True

    def _again(self, number: int, draining: bool) -> Httpd:
        assert self.parent, "the server was not started"
        self.config.write()
        mark, before = self.log.count(_RUNNING), self.children()
        self.parent.signal(number)
        self.wait(lambda: self.log.count(_RUNNING) > mark, what="restart")
        if not draining:
            self.wait(lambda: not any(proc.alive for proc in before), what="end of the old children")
        # httpd says that it runs before it has forked, a second before where the old children took their time.
        self.wait(lambda: not before or set(self.children()) - set(before), what="new children")
        return self

    def _stop(self, number: int) -> None:
        if self.parent:
            # A process that exits loses its command line before it closes its sockets.
            procs = self._family()
            self.parent.signal(number)
            try:
                wait(lambda: not (self._family() or any(proc.alive for proc in procs)), 30, "end of httpd")
            finally:
                self._end_family()

    def _settle(self) -> None:
        """Wait until no thread of a child is at work, in so far as that happens.

        A child of mpm_event (httpd 2.4.71) that is told to stop closes the sockets of its workers, also one that a
        worker frees in this moment, and crashes. A client that has its answer is not enough to know.
        """
        with contextlib.suppress(TimedOut):
            wait(lambda: all(process.sleeps(proc.pid) for proc in self.children()), 3, "idle children")

    def _family(self) -> list[Proc]:
        """All processes below this test run that were started with this server's configuration."""
        return [proc for proc in process.descendants() if str(self.sandbox.conf) in proc.command]

    def _maybe_family(self) -> list[Proc]:
        """As `_family`, with processes that have no command line: they become another program, or end."""
        return self._family() + [proc for proc in process.descendants() if proc.nameless]

    def _end_family(self) -> None:
        process.end(self._family(), grace=0)
        if self.parent:
            process.reap(self.parent.pid)
        self.parent = None

    def crashes(self) -> list[Path]:
        """Core files of the server, as far as they are to be judged: C's crashes are not."""
        return sorted(self.sandbox.cores.iterdir()) if self.module.is_ours else []


def allow_cores() -> None:
    """Lets a program that is about to start leave core files."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def _memory(pid: int) -> Memory:
    rows = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
    sizes = {row[0].rstrip(":"): int(row[1]) for row in rows}
    return Memory(sizes["Rss"], sizes["Private_Clean"] + sizes["Private_Dirty"])
