"""`a2md preflight`: what would keep a CA from issuing certificates, found without one."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.a2md import A2md
from harness.dns import Dns
from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = [pytest.mark.module("ours"), pytest.mark.pebble(nonce_reject=0, authz_reuse=0)]
NAME = "a.example.org"
PROTOCOLS = "Protocols http/1.1 acme-tls/1"
# The server starts, and renews nothing by itself.
MANUAL = "MDRenewMode manual"


def _options(pebble: Pebble) -> list[str]:
    return ["-r", pebble.dns.address, "--http-port", str(pebble.http_port), "--https-port", str(pebble.tls_port)]


def _look(sandbox: Sandbox, pebble: Pebble, *names: str, accounts: int = 0) -> list[dict[str, Any]]:
    done = A2md(sandbox, pebble).json("preflight", *_options(pebble), *names)
    found = list(done.document["output"])
    assert done.code == int(any(each["result"] == "error" for each in found)), done
    assert [each for each in found if (each["result"] == "ok") == bool(each["remedy"])] == []
    # Nothing was asked of the CA but its directory, and nothing stays.
    assert (pebble.new_orders, pebble.new_accounts) == (0, accounts)
    assert not list(sandbox.challenges().iterdir())
    return found


def _of(found: list[dict[str, Any]], check: str) -> tuple[str, str]:
    """The one finding of a check: its result, and what was found."""
    (one,) = [each for each in found if each["check"] == check]
    return one["result"], one["detail"]


def test_a_server_that_a_ca_can_reach_has_ok_everywhere(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.add(MANUAL, "MDCAChallenges http-01 tls-alpn-01").md(NAME, f"www.{NAME}")
    httpd.config.http(NAME, aliases=[f"www.{NAME}"]).https(NAME, PROTOCOLS, aliases=[f"www.{NAME}"])
    httpd.start()
    found = _look(sandbox, pebble, NAME)
    assert [each for each in found if each["result"] != "ok"] == []
    checks = [(each["domain"], each["check"]) for each in found]
    assert checks[:2] == [("", "store"), (NAME, "CA")]
    for name in (NAME, f"www.{NAME}"):
        assert [check for domain, check in checks[2:] if domain == name] == ["DNS", "CAA", "http-01", "tls-alpn-01"]
    done = A2md(sandbox, pebble)("preflight", *_options(pebble))
    assert done.code == 0 and done.err.endswith("1 domain looked at: 0 errors, 0 warnings\n")
    assert all(line.endswith(": ok") for line in done.out.splitlines()), done


def test_what_is_in_the_way_is_named(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    httpd.config.add(MANUAL).managed(NAME)
    httpd.start()
    # No host has the protocol, and http-01 works.
    found = _look(sandbox, pebble, NAME)
    assert _of(found, "http-01") == ("ok", f"127.0.0.1:{pebble.http_port} is answered by this server")
    assert not [each for each in found if each["check"] == "tls-alpn-01"]

    # An address at which nobody listens, and one with another server.
    pebble.dns.set_a(NAME, "127.0.0.9")
    result, detail = _of(_look(sandbox, pebble, NAME), "http-01")
    assert result == "error" and detail.startswith(f"127.0.0.9:{pebble.http_port}: "), detail
    with ThreadingHTTPServer(("127.0.0.9", pebble.http_port), BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        detail = _of(_look(sandbox, pebble, NAME), "http-01")[1]
        other.shutdown()
    assert detail == f"127.0.0.9:{pebble.http_port} answers 501 without the challenge"

    # One that is right does not make up for it: a CA may take either.
    pebble.dns.clear_a(NAME)
    pebble.dns.set_a(NAME, "127.0.0.1", "127.0.0.9")
    found = [each["result"] for each in _look(sandbox, pebble, NAME) if each["check"] == "http-01"]
    assert sorted(found) == ["error", "ok"]

    # The server is down.
    pebble.dns.clear_a(NAME)
    httpd.stop()
    assert _of(_look(sandbox, pebble, NAME), "http-01")[0] == "error"


def test_tls_that_ends_elsewhere_is_found(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World) -> None:
    world.balancer(httpd)
    httpd.config.add(MANUAL).md(NAME).http(NAME).https(NAME, PROTOCOLS)
    httpd.start()
    result, detail = _of(_look(sandbox, pebble, NAME), "tls-alpn-01")
    assert result == "warning" and "does not answer for acme-tls/1" in detail


def test_the_dns_is_looked_at_as_a_ca_does(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, dns: Dns) -> None:
    command = f'MDChallengeDns01 "{dns.command()}"'
    httpd.config.md_set(f"{NAME} *.{NAME}", MANUAL, "MDCAChallenges dns-01", command).https(NAME)
    httpd.start()
    seen = {each["domain"]: each["result"] for each in _look(sandbox, pebble, NAME) if each["check"] == "dns-01"}
    assert seen == {NAME: "ok", f"*.{NAME}": "ok"}
    assert [call[0] for call in dns.calls()] == ["setup", "teardown"] * 2

    # CAA for another CA, and a zone that cannot be read.
    def caa() -> tuple[str, str]:
        return _of([each for each in _look(sandbox, pebble, NAME) if each["domain"] == NAME], "CAA")

    dns.set_caa("example.org", "other.example")
    result, detail = caa()
    assert result == "error" and "other.example" in detail
    dns.servfail(NAME)
    result, detail = caa()
    assert result == "error" and "SERVFAIL" in detail


def test_a_permanent_record_is_compared_with_the_account(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, dns: Dns) -> None:
    httpd.config.add(MANUAL, "MDCAChallenges dns-persist-01").md(NAME).https(NAME)
    httpd.start()
    result, detail = _of(_look(sandbox, pebble, NAME), "dns-persist-01")
    assert (result, detail) == ("error", "there is no account yet that a record could name")
    (told,) = A2md(sandbox, pebble).json("persist-record", NAME).output
    for value, expected in (("", "error"), (told["value"] + "x", "error"), (told["value"], "ok")):
        if value:
            dns.set_txt(told["name"], value)
        assert _of(_look(sandbox, pebble, NAME, accounts=1), "dns-persist-01")[0] == expected, value


def test_a_domain_that_is_being_renewed_is_left_alone(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MDCAChallenges http-01").managed(NAME)
    hold = gate.hold("/chalZ/")
    httpd.start().wait(lambda: hold.held, what="challenge in place")
    file = next(sandbox.challenges(NAME).iterdir())
    before = file.read_bytes()
    done = A2md(sandbox, pebble)("preflight", "-r", pebble.dns.address, NAME)
    assert done.code == 0 and "is being renewed" in done.out
    assert file.read_bytes() == before
    hold.release()
    httpd.wait_staged(NAME)


def test_mistakes_in_options_are_named(httpd: Httpd, sandbox: Sandbox) -> None:
    httpd.config.add(MANUAL).managed(NAME)
    httpd.start().stop()
    cli = A2md(sandbox)
    for words, phrase in (
        (["-r", "frob"], "-r wants the address of a name server: frob"),
        (["--http-port", "0"], "--http-port wants a port from 1 to 65535: 0"),
        (["absent.example.org"], "managed domain not found: absent.example.org"),
    ):
        done = cli("preflight", *words)
        assert done.code == 1 and phrase in done.err, done
