"""A server with an example domain in each state, for the tests of the pages and for the pictures of the documentation.

The store is written by hand: certificates have the age that the state needs, and no CA is asked.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from harness.httpd import Httpd
from harness.pki import Ca, Leaf
from harness.sandbox import USER, Sandbox
from harness.world import World

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LONG = f"{'a-very-long-label-' * 3}63-octets.example.org"
ACME = "urn:ietf:params:acme:error"
HOSTILE = "<script>alert('detail')</script>"


class Gallery:
    """Builds the store and the configuration; `open()` starts the server and shows what is under way."""

    PAGE = ("<Location /page>", "SetHandler md-page", "</Location>")

    def __init__(self, world: World) -> None:
        self.world, self.httpd = world, world.httpd()
        self._ca: Ca = world.pki.ca("Example Root").intermediate("Example CA")
        self._staged: dict[str, tuple[dict[str, Any], list[Leaf]]] = {}
        # Nothing is to be renewed while somebody looks, and nothing ever to leave the machine.
        self.httpd.config.add(
            "MDServerStatus on", "MDInitialDelay 1h", "MDHttpProxy http://127.0.0.1:1", "MDCertificateAgreement accepted", "MDPrivateKeys secp256r1", "MDContactEmail admin@example.org",
            f"MDCertificateAuthority {LETS_ENCRYPT}", f"MDPortMap http:{world.http_port} https:{world.https_port}",
        )
        self.httpd.config.http("page.example.net", *self.PAGE)

    @property
    def sandbox(self) -> Sandbox:
        return self.world.sandbox

    def domain(self, *names: str, age: float | None = None, life: float = 90, settings: tuple[str, ...] = (), keys: tuple[str, ...] = ("p256",)) -> None:
        """A managed domain; with an `age` in days it has certificates."""
        config = self.httpd.config
        config.md_set(" ".join(names), *settings)
        config.http(names[0], aliases=list(names[1:])).https(names[0], aliases=list(names[1:]))
        if age is not None:
            _place(self.sandbox.domains(names[0]), [self.leaf(names, key, age, life) for key in keys])

    def renewal(self, name: str, job: dict[str, Any], *names: str, staged: bool = False) -> None:
        """Puts a renewal under way for a domain into the store, with a new certificate or without."""
        leaves = [self.leaf((name, *names), "p256", 0, 90)] if staged else []
        self._staged[name] = ({"name": name, "finished": False, "errors": 0} | job, leaves)

    def open(self) -> Httpd:
        """Start the server. Jobs come afterwards: a start would activate what is staged."""
        self.httpd.start()
        for name, (job, leaves) in self._staged.items():
            folder = self.sandbox.staging(name)
            _place(folder, leaves)
            (folder / "md.json").write_text(json.dumps(self.sandbox.md_json(name)))
            (folder / "job.json").write_text(json.dumps(job))
            _give(folder)
        return self.httpd

    def page(self, behind: str = "") -> str:
        """The page of the md-page handler, or what is behind its path."""
        answer = self.httpd.get(f"http://page.example.net/page{behind}")
        assert answer.status in (200, 404), answer
        return answer.text

    def section(self) -> str:
        """The page of mod_status."""
        return self.httpd.admin("/server-status").text

    def leaf(self, names: tuple[str, ...], key: str, age: float, life: float) -> Leaf:
        """A certificate of this age and length of life, in days."""
        return self._ca.leaf(*names, key=key, days=life, not_before=_now() - timedelta(days=age, minutes=1))


def every_state(gallery: Gallery) -> Gallery:
    """Adds a domain in each possible state."""
    gallery.domain("example.org", "www.example.org", "blog.example.org", age=21)
    gallery.domain("expired.example.org", age=93)
    refused = "Connection to acme-v02.api.letsencrypt.org refused: is a firewall or a proxy in the way?"
    gallery.renewal("expired.example.org", _failed(14, 5.1 * 3600, "transport-connect", refused, 111))
    gallery.domain("failing.example.org", age=68)
    gallery.renewal("failing.example.org", _failed(3, 3600, f"{ACME}:dns", "No valid A record found for failing.example.org"))
    gallery.domain("first.example.org")
    detail = "http://first.example.org/.well-known/acme-challenge/ answered the authority with status 404"
    gallery.renewal("first.example.org", _failed(1, 300, f"{ACME}:unauthorized", detail))
    gallery.domain("manual.example.org", age=80, settings=("MDRenewMode manual",))
    gallery.domain("new.example.org")
    gallery.domain("renewing.example.org", age=61)
    asking = {"status": 0, "detail": "Asking for a certificate for renewing.example.org", "activity": "order"}
    gallery.renewal("renewing.example.org", {"last": asking})
    gallery.domain("shop.example.org", age=40, keys=("p256", "p384"), settings=("MDPrivateKeys secp256r1 secp384r1",))
    gallery.domain("staged.example.org", age=62)
    gallery.renewal("staged.example.org", {"finished": True, "last": {"status": 0}}, staged=True)
    leaf = gallery.leaf(("static.example.org",), "p256", 70, 90)
    gallery.domain("static.example.org", settings=(f"MDCertificateFile {leaf.chain_file}", f"MDCertificateKeyFile {leaf.key_file}"))
    gallery.domain("wild.example.org", "*.wild.example.org", age=10, settings=("MDChallengeDns01 /bin/true",))
    return gallery


def awkward(gallery: Gallery) -> Gallery:
    """Domains that are hard to show: long names, many, an error that is HTML, and one that cannot be renewed."""
    gallery.domain(LONG, f"www.{LONG}", "xn--bcher-kva.example.org", age=30)
    gallery.domain("many.example.org", *(f"host-{number}.many.example.org" for number in range(40)), age=50)
    gallery.domain("hostile.example.org", age=68)
    gallery.renewal("hostile.example.org", _failed(1, 3600, HOSTILE, HOSTILE))
    gallery.domain("no-dns.example.org", "*.no-dns.example.org", age=75)
    return gallery


def many(gallery: Gallery, count: int) -> Gallery:
    """A server with many domains, all good."""
    for number in range(count):
        gallery.domain(f"site-{number:03d}.example.org", age=number % 59)
    return gallery


def _failed(errors: int, seconds: float, problem: str, detail: str, status: int = 20014) -> dict[str, Any]:
    """A job whose last attempt failed."""
    last = {"status": status, "problem": problem, "detail": detail, "activity": "order"}
    return {"errors": errors, "next-run": _gmt(_now() + timedelta(seconds=seconds)), "last-run": _gmt(_now()), "last": last}


def _place(folder: Path, leaves: list[Leaf]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for leaf in leaves:
        kind = leaf.certificate.key_type
        for file, aspect in ((leaf.chain_file, "pubcert"), (leaf.key_file, "privkey")):
            shutil.copy(file, folder / f"{aspect}.{kind}.pem")


def _give(folder: Path) -> None:
    user = pwd.getpwnam(USER)
    for path in (folder, *folder.iterdir()):
        os.chown(path, user.pw_uid, user.pw_gid)


def _now() -> datetime:
    return datetime.now(UTC)


def _gmt(at: datetime) -> str:
    return format_datetime(at, usegmt=True)
