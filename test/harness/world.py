"""Everything one test starts, and the account of it afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from . import process
from .authority import Authority
from .balancer import Balancer
from .clock import Clock
from .crash import Crash
from .dead import Dead
from .dns import Dns
from .engine import Engine
from .gate import Gate
from .hostile import HostileCa, Row
from .httpd import Httpd
from .module import Missing, Module
from .named import Named
from .network import Network
from .ocsp import Responder
from .pebble import Pebble, Settings, program
from .pki import Ca, Leaf, Pki
from .ports import Ports
from .process import Proc
from .proxy import Proxy
from .recorder import Recorder
from .sandbox import Sandbox
from .volume import Volume


class Complaints(AssertionError):
    """Something is left over that the test did not announce."""


class World:
    """A sandbox with its servers. `finish()` complains about what is left over, `close()` ends everything.

    A Pebble has one http and one TLS port to validate at: all CAs and servers of a world share them. With `own_network`
    these are 80 and 443, and the DNS is at 53, as authorities of others want it.
    """

    _open: ClassVar[list[World]] = []
    """Worlds of this process that are not closed: one does not end what belongs to another."""

    def __init__(self, name: str = "test", module: Module | None = None, own_network: bool = False) -> None:
        if os.geteuid() != 0:
            raise Missing("httpd is started as root, to become www-data: run the tests as root")
        # The block is marked as taken in the network that all processes of the tests see.
        ports = Ports.mine()
        self._network = Network() if own_network else None
        process.adopt_orphans()
        self._open.append(self)
        self._before = set(process.descendants())
        self._judged = False
        self._module = module
        self.keep = False
        """Leave the sandbox for somebody to look at."""
        self.http_port, self.https_port = (80, 443) if own_network else (ports.take(), ports.take())
        self.sandbox = Sandbox(name)
        self.pki = Pki(self.sandbox.root / "pki")
        self.servers: list[Httpd] = []
        self.pebbles: list[Pebble | Authority] = []
        self._responders: list[Responder | Recorder | Gate | Proxy | Balancer | Dead | HostileCa | Engine] = []
        self._volumes: list[Volume] = []
        self._crashes: list[Crash] = []
        self._dns: Dns | Named | None = None
        self._tls: Ca | None = None

    @property
    def module(self) -> Module:
        self._module = self._module or Module.under_test()
        return self._module

    @property
    def dns(self) -> Dns:
        """The DNS of all CAs of this world, started on first use."""
        if self._dns is None:
            ports = Ports.mine()
            port = 53 if self._network else ports.take()
            self._dns = Dns(program("pebble-challtestsrv"), self.sandbox, port, ports.take())
            self._dns.start()
        assert isinstance(self._dns, Dns)
        return self._dns

    def named(self, zone: str) -> Named:
        """Start a BIND for one zone, which the CAs of this world ask; before the first of them."""
        assert self._dns is None
        named = Named(self.sandbox, 53 if self._network else Ports.mine().take(), zone)
        self._dns = named
        named.start()
        return named

    def pebble(self, **settings: Any) -> Pebble:
        """Start a CA; settings as in `pebble.Settings`."""
        self._tls = self._tls or self.pki.ca("Pebble web server")
        dns = self._dns or self.dns
        pebble = Pebble(self.sandbox, self._tls, self.http_port, self.https_port, dns, Settings(**settings))
        self.pebbles.append(pebble)
        return pebble.start()

    def authority(self, kind: type[Authority]) -> Authority:
        """Start an ACME server of others, with the DNS that it asks."""
        assert self._network and self.dns
        self._tls = self._tls or self.pki.ca("Authorities' web servers")
        authority = kind(self.sandbox, self._tls)
        self.pebbles.append(authority)
        return authority.start()

    def httpd(self, pebble: Pebble | Authority | None = None, mpm: str = "event") -> Httpd:
        """A server that is not started yet. With a CA its defaults use that, with short delays."""
        httpd = Httpd(self.sandbox, self.module, self.http_port, self.https_port, Ports.mine().take(), mpm)
        if pebble:
            httpd.config.defaults = acme_defaults(pebble)
        self.servers.append(httpd)
        return httpd

    def responder(self, ca: Ca | None = None) -> Responder:
        """Start an OCSP responder for the certificates of a CA; without one, set `ca` later."""
        responder = Responder(ca, Ports.mine().take())
        self._responders.append(responder)
        return responder

    def recorder(self) -> Recorder:
        """Start an HTTP server that notes what it is asked and says what it is told to."""
        recorder = Recorder(Ports.mine().take())
        self._responders.append(recorder)
        return recorder

    def dead(self, way: str) -> Dead:
        """Start a server that does not answer; ways as in `dead.Dead`."""
        dead = Dead(Ports.mine().take(), way)
        self._responders.append(dead)
        return dead

    def engine(self, *options: str, tls: Leaf | None = None) -> Engine:
        """Start an engine for a fleet; `options` are lines of its configuration."""
        engine = Engine(self.sandbox, Ports.mine().take(), *options, tls=tls).start()
        self._responders.append(engine)
        return engine

    def proxy(self) -> Proxy:
        """Start an HTTP proxy that counts."""
        proxy = Proxy(Ports.mine().take())
        self._responders.append(proxy)
        return proxy

    def balancer(self, httpd: Httpd) -> Balancer:
        """Start a load balancer at the TLS port that the CAs know, in front of a server whose https hosts are added after this."""
        config = httpd.config
        config.https_port = Ports.mine().take()
        config.add(f"MDPortMap https:{config.https_port}")
        leaf = self.pki.ca("Balancer").leaf("balancer.example.org")
        balancer = Balancer(self.https_port, leaf, config.http_port)
        self._responders.append(balancer)
        return balancer

    def gate(self, pebble: Pebble) -> Gate:
        """Start a door in front of a CA, where requests can be held."""
        assert self._tls
        gate = Gate(pebble, self._tls.leaf("localhost", "127.0.0.1"), Ports.mine().take())
        self._responders.append(gate)
        return gate

    def hostile_ca(self, rows: dict[str, Row]) -> HostileCa:
        """Start a CA, responder and proxy that misbehave; after the first Pebble, which has the same trust."""
        assert self._tls
        hostile = HostileCa(rows, self._tls.leaf("*.ca.localhost"), self.pki.ca("Hostile").intermediate("Hostile issuer"))
        self._responders.append(hostile)
        return hostile

    def volume(self, kib: int = 2048) -> Volume:
        """Put the store, which is not made yet, on a small file system of its own."""
        self._volumes.append(Volume(self.sandbox.store, kib))
        return self._volumes[-1]

    def clock(self, httpd: Httpd) -> Clock:
        """A clock of its own for a server that is not started yet."""
        return Clock(self.sandbox).attach(httpd)

    def crash(self, httpd: Httpd) -> Crash:
        """Faults for a server."""
        self._crashes.append(Crash(httpd))
        return self._crashes[-1]

    def complaints(self) -> list[str]:
        """Stop everything; what then is left, or was logged without announcement. Tells it once."""
        found: list[str] = []
        if self._judged:
            return found
        self._judged = True
        for httpd in self.servers:
            if httpd.parent and not httpd.running:
                found.append("httpd ended by itself")
            try:
                httpd.stop()
            except AssertionError as late:
                found.append(f"httpd did not stop: {late}")
            found += [f"unannounced: {line}" for line in httpd.log.unannounced]
            found += [f"announced, but never came: {what}" for what in httpd.log.never_came]
            found += [f"core: {path}" for path in httpd.crashes()]
        self._stop_services()
        found += [f"left running: {proc}" for proc in self._end_rest()]
        return found

    def finish(self) -> None:
        """Stop everything and fail if there are complaints."""
        if found := self.complaints():
            raise Complaints("\n".join(found))

    def close(self) -> None:
        """End everything, whatever its state."""
        for httpd in self.servers:
            httpd.kill()
        self._stop_services()
        self._end_rest()
        for volume in self._volumes:
            volume.close()
        if self._network:
            self._network.leave()
        self._open.remove(self)

    def remove(self) -> None:
        self.sandbox.remove()

    @property
    def pids(self) -> list[int]:
        """The processes to end if this world is left running: servers' parents, CAs, DNS."""
        found = [httpd.parent.pid for httpd in self.servers if httpd.parent]
        return found + [each.pid for each in (*self.pebbles, self._dns) if each and each.pid]

    def _stop_services(self) -> None:
        parts: list[Crash | Responder | Recorder | Gate | Balancer | Dead | Engine | Pebble | Authority] = [*self._crashes, *self._responders, *self.pebbles]
        for part in parts:
            part.stop()
        self._responders.clear()
        if self._dns:
            self._dns.stop()

    def _end_rest(self) -> list[Proc]:
        others = {pid for world in self._open if world is not self for pid in world.pids}
        others |= {proc.pid for pid in others for proc in process.descendants(pid)}
        rest = [proc for proc in process.descendants() if proc not in self._before and proc.pid not in others]
        process.end(rest)
        process.reap_orphans()
        return rest


@contextmanager
def beside(first: Httpd, pebble: Pebble | None = None, name: str = "second") -> Iterator[Httpd]:
    """A server of a world of its own that uses the store of the first. Challenges of both are answered by that: a CA knows its ports."""
    world = World(name, first.module)
    try:
        httpd = world.httpd(pebble)
        ports = f"MDPortMap http:{world.http_port} https:{world.https_port}"
        httpd.config.defaults += [ports, f"MDStoreDir {first.sandbox.store}"]
        yield httpd
        world.finish()
    except BaseException:
        world.keep = True
        raise
    finally:
        world.close()
        if not world.keep:
            world.remove()


def acme_defaults(pebble: Pebble | Authority) -> list[str]:
    """Directives that make a server a client of this CA."""
    return [
        f"MDCertificateAuthority {pebble.directory}",
        f"MDCACertificateFile {pebble.trust}",
        "MDCertificateAgreement accepted",
        "MDContactEmail admin@example.org",
        f"MDPortMap http:{pebble.http_port} https:{pebble.tls_port}",
        "MDRetryDelay 1s",
        "MDCheckInterval 1s",
    ]
