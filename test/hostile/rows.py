"""The table of `make hostile`: what a CA, a responder or a proxy does, and the sentence that the domain's report ends with."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from harness.hostile import Exchange, Reply, Row, Spoil

_MB = 1 << 20
_EVIL = "\x1b[2J\x1b]0;owned\x07\r\nforged \u202egpj.exe\x9b1m"
"""Commands for terminals, a second line, and a change of direction."""
_ACME = "urn:ietf:params:acme:error:"


# How an HTTP server misbehaves, whatever it is asked for.


def _silent(x: Exchange, _: Reply) -> None:
    x.silence()


def _sends(data: bytes, then: Callable[[Exchange], None] | None = None) -> Spoil:
    """Send these bytes in place of an answer, and then close, or do something else."""

    def spoil(x: Exchange, _: Reply) -> None:
        x.send(data)
        if then:
            then(x)

    return spoil


def _floods(begin: bytes, block: bytes) -> Spoil:
    return _sends(begin, lambda x: x.flood(block))


def _drips(begin: bytes, block: bytes) -> Spoil:
    return _sends(begin, lambda x: x.drip(block))


def _resets(x: Exchange, _: Reply) -> None:
    x.reset()


def _cut(x: Exchange, reply: Reply) -> None:
    """Half of the answer that was promised."""
    text = reply.with_header("Content-Length", str(len(reply.body) + 100)).encode()
    x.send(text)


def _status(status: int, body: bytes = b"<html>no</html>", **headers: str) -> Spoil:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return lambda x, reply: Reply(status, [("Content-Type", "text/html"), *named], body)


def _body(body: bytes | Callable[[bytes], bytes], kind: str | None = None) -> Spoil:
    """The right answer with another body, and another type."""

    def spoil(_: Exchange, reply: Reply) -> Reply:
        new = Reply(reply.status, reply.headers, body if isinstance(body, bytes) else body(reply.body))
        return new.with_header("Content-Type", kind) if kind else new

    return spoil


def _header(name: str, value: str | None) -> Spoil:
    return lambda x, reply: reply.with_header(name, value)


def _headers(*headers: tuple[str, str]) -> Spoil:
    return lambda x, reply: Reply(reply.status, [*reply.headers, *headers], reply.body)


def _having(**members: Any) -> Spoil:
    return lambda x, reply: reply.having(**members)


def _lacking(member: str) -> Spoil:
    return lambda x, reply: reply.without(member)


def _problem(status: int, kind: str = "malformed", detail: Any = "no", headers: dict[str, str] | None = None, **members: Any) -> Spoil:
    def spoil(_: Exchange, reply: Reply) -> Reply:
        document = {"type": f"{_ACME}{kind}" if ":" not in kind else kind, "detail": detail, **members}
        spoilt = Reply.of_json(document, status).with_header("Content-Type", "application/problem+json")
        for name, value in {"Replay-Nonce": "bm9uY2U", **(headers or {})}.items():
            spoilt = spoilt.with_header(name, value)
        return spoilt

    return spoil


_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_LATE = "timed out"
_MUCH = "has more than"
_BROKEN = "the request to r[0-9]+.ca.localhost failed"
_NOT_JSON = "Unable to understand ACME server response|unable to process the response"

# Name, what is done, the end at the directory, in the gate.
HTTP: list[tuple[str, Spoil, str, bool]] = [
    ("is silent", _silent, _LATE, False),
    ("closes", _sends(b""), _BROKEN, True),
    ("resets", _resets, _BROKEN, False),
    ("drips headers", _drips(_OK + b"X: ", b"x"), _LATE, False),
    ("drips the body", _drips(_OK + b"\r\n", b" "), _LATE, False),
    ("drips status 100", _drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), _LATE, False),
    ("floods header lines", _floods(_OK, b"X-Padding: " + 1000 * b"x" + b"\r\n"), _MUCH, True),
    ("floods short header lines", _floods(_OK, b"a:\r\n"), _MUCH, False),
    ("sends one endless header line", _floods(_OK + b"X: ", 1000 * b"x"), f"{_MUCH}|{_BROKEN}", False),
    ("floods status 100", _floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), _MUCH, True),
    ("floods status 103", _floods(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), _MUCH, False),
    ("floods trailers", _floods(_CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Padding: " + 1000 * b"x" + b"\r\n"), _MUCH, True),
    ("floods the body", _floods(_OK + b"\r\n", 1000 * b" "), _MUCH, True),
    ("floods chunks", _floods(_CHUNKED, b"8\r\n        \r\n"), _MUCH, False),
    ("floods tiny chunks with extensions", _floods(_CHUNKED, b"1;" + 100 * b"x" + b"\r\n \r\n"), f"{_MUCH}|{_LATE}|{_BROKEN}", False),
    ("announces 9 exabytes", _sends(_OK + b"Content-Length: 9000000000000000000\r\n\r\n{}"), _BROKEN, False),
    ("announces less than nothing", _sends(_OK + b"Content-Length: -5\r\n\r\n{}"), _BROKEN, False),
    ("announces two lengths", _sends(_OK + b"Content-Length: 2\r\nContent-Length: 2000\r\n\r\n{}"), f"{_BROKEN}|{_NOT_JSON}", False),
    ("cuts the body", _cut, _BROKEN, True),
    ("sends a chunk without a size", _sends(_CHUNKED + b"zzz\r\n{}\r\n"), _BROKEN, False),
    ("sends a chunk of 2^80 bytes", _sends(_CHUNKED + b"100000000000000000000\r\n{}\r\n"), _BROKEN, False),
    ("greets as a mail server", _sends(b"220 mail.example.org ESMTP\r\n"), f"{_BROKEN}|HTTP status", False),
    ("answers in HTTP/0.9", _sends(b"{}\r\n"), _BROKEN, False),
    ("answers in HTTP/9.9", _sends(b"HTTP/9.9 200 OK\r\n\r\n{}"), f"{_BROKEN}|{_NOT_JSON}", False),
    ("has status 0", _sends(b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n"), f"{_BROKEN}|http status|HTTP status", False),
    ("has status 999", _sends(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"), "status:? 999", False),
    ("has status 99999", _sends(b"HTTP/1.1 99999 X\r\nContent-Length: 0\r\n\r\n"), f"{_BROKEN}|http status|HTTP status", False),
    ("has a NUL in a header", _sends(_OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n"), f"{_BROKEN}|{_NOT_JSON}", False),
    ("switches protocols", _sends(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), f"{_BROKEN}|status:? 101|{_LATE}", False),
    ("redirects to another host", _status(302, Location="https://elsewhere.invalid/dir"), "status:? 302.*redirect to <https://elsewhere.invalid/dir>", True),
    ("redirects to a file", _status(301, Location="file:///etc/passwd"), "status:? 301", False),
    ("redirects for ever", lambda x, reply: Reply(307, [("Location", x.path)], b""), "status:? 307", False),
    ("is out of order", _status(500), "status:? 500", False),
    ("is a teapot", _status(418, 2000 * b"x"), "status:? 418", False),
    ("has no content", _status(204, b""), _NOT_JSON, False),
    ("is not there, and says so in escapes", _status(404, _EVIL.encode()), "status:? 404", True),
    ("wants to be asked in a thousand years", _status(503, Retry_After="31536000000"), "503", True),
    ("wants to be asked in 9e99 seconds", _status(429, Retry_After=99 * "9"), "status:? 429", False),
    ("wants to be asked in the past", _status(503, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"), "503", False),
    ("wants to be asked in a year of five digits", _status(503, Retry_After="Fri, 31 Dec 99999 23:59:59 GMT"), "503", False),
    ("answers with null", _body(b"null"), _NOT_JSON, False),
    ("answers with a list", _body(b"[]"), _NOT_JSON, True),
    ("answers with a number", _body(b"1e999"), _NOT_JSON, False),
    ("answers with nothing", _body(b""), _NOT_JSON, False),
    ("answers with a page", _body(b"<html></html>", "text/html"), _NOT_JSON, False),
    ("nests lists", _body(200_000 * b"["), _NOT_JSON, True),
    ("nests objects", _body(100_000 * b'{"a":'), _NOT_JSON, False),
    ("sends many small values", _body(b"[" + 400_000 * b"1," + b"1]"), _NOT_JSON, False),
    ("sends many members", _body(lambda right: b"{" + b",".join(b'"%d":{}' % at for at in range(60_000)) + b"}"), _NOT_JSON, False),
    ("cuts the JSON", _body(lambda right: right[:-2]), _NOT_JSON, False),
    ("adds garbage to the JSON", _body(lambda right: right + b"}garbage"), _NOT_JSON, True),
    ("sends half a character", _body(lambda right: right.replace(b"{", b'{"x\xc3\x28":1,', 1)), _NOT_JSON, False),
    ("sends a mark of UTF-16", _body(lambda right: right.decode().encode("utf-16")), _NOT_JSON, False),
    ("compresses without being asked", lambda x, reply: Reply(200, [("Content-Encoding", "gzip")], gzip.compress(bytes(50 * _MB))), f"{_NOT_JSON}|{_BROKEN}", False),
]
"""Ways to answer that are wrong for any resource."""

# Where all ways of HTTP are tried, and where some are.
_EVERYWHERE = ["dir"]
_ELSEWHERE = {
    "is silent": ["cert"],
    "closes": ["nonce", "order", "cert"],
    "floods header lines": ["account", "cert"],
    "floods trailers": ["order", "cert"],
    "floods the body": ["account", "authz", "cert"],
    "cuts the body": ["order", "cert"],
    "redirects to another host": ["nonce", "account", "finalize", "cert"],
    "is out of order": ["nonce", "account", "order", "authz", "chall", "finalize", "poll", "cert"],
    "answers with a list": ["order", "authz", "finalize"],
    "nests lists": ["order", "authz"],
    "adds garbage to the JSON": ["order", "authz"],
    "sends many small values": ["order", "authz"],
    "is not there, and says so in escapes": ["order", "cert"],
}


def _http_rows() -> list[Row]:
    rows = []
    for what, does, ends, quick in HTTP:
        rows += [Row(f"{place} {what}", place, does, ends, quick=quick) for place in _EVERYWHERE]
        # An order or authorization of another type reads as one without members, and the next answer may be right.
        ends = f"{ends}|finished|None of offered" if what == "answers with a list" else ends
        rows += [Row(f"{place} {what}", place, does, ends) for place in _ELSEWHERE.get(what, [])]
    return rows


# What is wrong in the documents of ACME.


def _urls(make: Callable[[str], str], *members: str) -> Spoil:
    return lambda x, reply: reply.having(**{member: make(reply.document[member]) for member in members})


def _challenge(**members: Any) -> Spoil:
    def spoil(_: Exchange, reply: Reply) -> Reply:
        (challenge,) = reply.document["challenges"]
        return reply.having(challenges=[{**challenge, **members}])

    return spoil


def _many(count: int, make: Callable[[int, Reply], Any], member: str) -> Spoil:
    return lambda x, reply: reply.having(**{member: [make(at, reply) for at in range(count)]})


def _authorizations(count: int) -> Spoil:
    return _many(count, lambda at, reply: f"{reply.document['authorizations'][0]}/{at}", "authorizations")


_HTTPS_ONLY = "https"
_TOKENS = "token"

DOCUMENTS = [
    Row("dir lacks newNonce", "dir", _lacking("newNonce"), _NOT_JSON),
    Row("dir lacks newAccount", "dir", _lacking("newAccount"), _NOT_JSON),
    Row("dir lacks newOrder", "dir", _lacking("newOrder"), _NOT_JSON),
    Row("dir is of ACME version 1", "dir", _body(b'{"new-authz": "https://x.invalid/"}'), "ACME version 1"),
    Row("dir has numbers for URLs", "dir", _having(newOrder=5), _NOT_JSON),
    Row("dir has a URL of http", "dir", _urls(lambda url: url.replace("https:", "http:"), "newAccount", "newNonce", "newOrder"), _HTTPS_ONLY, quick=True),
    Row("dir has a URL of a file", "dir", _having(newNonce="file:///etc/passwd"), "file:///etc/passwd", quick=True),
    Row("dir has a URL of gopher", "dir", _having(newAccount="gopher://127.0.0.1:1/"), "gopher:"),
    Row("dir has a URL that is none", "dir", _having(newNonce="nonsense"), "nonsense"),
    Row("dir has a relative URL", "dir", _having(newNonce="/nonce"), "/nonce"),
    Row("dir has a URL with a password", "dir", _urls(lambda url: url.replace("https://", "https://user:secret@"), "newNonce"), "user", quick=True),
    Row("dir has a URL of 100 KB", "dir", _urls(lambda url: url + "?" + 100_000 * "x", "newNonce"), "."),
    Row("dir has a URL with escapes", "dir", _urls(lambda url: url + _EVIL, "newNonce"), "."),
    Row("dir has a URL of a dead port", "dir", _having(newNonce="https://127.0.0.1:1/"), "no connection to 127.0.0.1"),
    Row("dir has terms with escapes", "dir", _having(meta={"termsOfService": f"https://x/{_EVIL}", "externalAccountRequired": True}), "external|finished"),
    Row("dir has 60,000 profiles", "dir", _having(meta={"profiles": {f"p{at}": "x" for at in range(60_000)}}), f"finished|{_NOT_JSON}"),
    Row("dir has a meta of another type", "dir", _having(meta=[1]), f"finished|{_NOT_JSON}"),
    Row("nonce is absent", "nonce", _header("Replay-Nonce", None), "lacks a Replay-Nonce", quick=True),
    Row("nonce is empty", "nonce", _header("Replay-Nonce", ""), "."),
    Row("nonce has 20 KB", "nonce", _header("Replay-Nonce", 20_000 * "n"), "."),
    Row("nonce has characters that no nonce has", "nonce", _header("Replay-Nonce", '"<{\\\x7f'), "."),
    Row("nonces are refused for ever", "account", _problem(400, "badNonce"), "nonce", 40, quick=True),
    Row("nonces are refused for ever at orders", "order", _problem(400, "badNonce"), "nonce", 40),
    Row("account has no Location", "account", _header("Location", None), "lacks a Location"),
    Row("account has a foreign Location", "account", _header("Location", "https://elsewhere.invalid/1"), "."),
    Row("account has a Location of 50 KB", "account", _header("Location", "https://x.invalid/" + 50_000 * "x"), ".", quick=True),
    Row("account has a Location with a line break", "account", _header("Location", "https://x.invalid/\r\n Folded: yes"), "."),
    Row("account is deactivated at once", "account", _having(status="deactivated"), "."),
    Row("account has an unknown status", "account", _having(status=_EVIL), "."),
    Row("account is refused in escapes", "account", _problem(403, "unauthorized", _EVIL), "forged", quick=True),
    Row("account is refused in 900 KB", "account", _problem(403, "unauthorized", 900_000 * "x"), "xxx"),
    Row("account is refused with 60,000 subproblems", "account", _problem(403, "unauthorized", "d", subproblems=[{"detail": "s"}] * 60_000), "."),
    Row("account is refused with a subproblem of 900 KB", "account", _problem(403, "unauthorized", "d", subproblems=[{"detail": 900_000 * "s"}]), "d"),
    Row("account is refused by a type of 900 KB", "account", _problem(403, 100_000 * "t"), "."),
    Row("account is refused by a type with escapes", "account", _problem(403, f"x:{_EVIL}"), "."),
    Row("account is refused without a type", "account", _problem(403, ":", None), "."),
    Row("account is refused by a number", "account", _problem(403, "malformed", 5), "."),
    Row("account is refused with many links", "account", _problem(403, "userActionRequired", "see", headers={"Link": ",".join('<https://x.invalid/>;rel="help"' for _ in range(500))}), "see"),
    Row("account is limited for a million years", "account", _problem(429, "rateLimited", "slow", headers={"Retry-After": "31536000000000"}), "slow"),
    Row("order has no Location", "order", _header("Location", None), "lacks a Location", quick=True),
    Row("order has no authorizations", "order", _having(authorizations=[]), "."),
    Row("order has an authorization too many", "order", _authorizations(2), "authorizations"),
    Row("order has 9,000 authorizations", "order", _authorizations(9_000), "authorizations", quick=True),
    Row("order has the same authorization 9,000 times", "order", _many(9_000, lambda at, reply: reply.document["authorizations"][0], "authorizations"), "authorizations"),
    Row("order has an authorization of http", "order", lambda x, reply: reply.having(authorizations=[f"http://{x.row}.ca.localhost:{x.ca.http}/authz/1"]), _HTTPS_ONLY),
    Row("order has an authorization of this machine", "order", lambda x, reply: reply.having(authorizations=[f"http://127.0.0.1:{x.ca.http}/latest/meta-data"]), _HTTPS_ONLY, quick=True),
    Row("order has an authorization of a file", "order", _having(authorizations=["file:///etc/shadow"]), "file:"),
    Row("order has authorizations of another type", "order", _having(authorizations={"a": 1}), _NOT_JSON),
    Row("order is invalid from the start", "order", _having(status="invalid"), "invalid"),
    Row("order is invalid, with escapes", "order", _having(status="invalid", error={"type": f"{_ACME}malformed", "detail": _EVIL}), "."),
    Row("order is valid without a certificate", "order", _having(status="valid"), "."),
    Row("order is ready without finalize", "order", lambda x, reply: reply.having(status="ready").without("finalize"), "."),
    Row("order is refused for each name", "order", _problem(400, "rejectedIdentifier", "no", subproblems=[{"type": f"{_ACME}rejectedIdentifier", "detail": _EVIL, "identifier": {"type": "dns", "value": _EVIL}}]), "no"),
    Row("authz is of another name", "authz", _having(identifier={"type": "dns", "value": "victim.example.org"}), "."),
    Row("authz is of a path", "authz", _having(identifier={"type": "dns", "value": "../../etc"}), "."),
    Row("authz is of an option", "authz", _having(identifier={"type": "dns", "value": "--evil"}), "."),
    Row("authz has no challenges", "authz", _having(challenges=[]), "None of offered challenge types", quick=True),
    Row("authz has unknown challenges", "authz", _challenge(type=_EVIL), "None of offered challenge types", quick=True),
    Row("authz has a challenge of 900 KB", "authz", _challenge(type=900_000 * "x"), "."),
    Row("authz has 9,000 challenges", "authz", _many(9_000, lambda at, reply: {**reply.document["challenges"][0], "type": f"x-{at}"}, "challenges"), "."),
    Row("authz has 9,000 challenges of one type", "authz", _many(9_000, lambda at, reply: reply.document["challenges"][0], "challenges"), "."),
    Row("authz is expired", "authz", _having(status="expired"), "."),
    Row("authz is invalid for ever", "authz", _having(status="invalid"), "."),
    Row("token is empty", "authz", _challenge(token=""), "None of offered challenge types"),
    Row("token is short", "authz", _challenge(token="abc"), _TOKENS, quick=True),
    Row("token is a path", "authz", _challenge(token="../../../../etc/passwd-and-more"), _TOKENS, quick=True),
    Row("token is HTML", "authz", _challenge(token="<script>alert(1)</script>"), _TOKENS, quick=True),
    Row("token has escapes", "authz", _challenge(token=_EVIL), _TOKENS),
    Row("token has 900 KB", "authz", _challenge(token=900_000 * "x"), _TOKENS),
    Row("token has 257 characters", "authz", _challenge(token=257 * "x"), _TOKENS),
    Row("token is a number", "authz", _challenge(token=5), "."),
    Row("challenge has a URL of http", "authz", lambda x, reply: _challenge(url=f"http://{x.row}.ca.localhost:{x.ca.http}/chall/1")(x, reply), _HTTPS_ONLY),
    Row("challenge has no URL", "authz", _challenge(url=None), "."),
    Row("challenge is refused", "chall", _problem(403, "unauthorized", _EVIL), "forged"),
    Row("challenge fails in escapes", "authz", lambda x, reply: reply.having(status="invalid", challenges=[{**reply.document["challenges"][0], "status": "invalid", "error": {"type": f"{_ACME}dns", "detail": _EVIL}}]), "forged"),
    Row("challenge wants to be asked in a year", "authz", lambda x, reply: reply.having(status="pending").with_header("Retry-After", "31536000"), "wants to be asked again"),
    Row("finalize is refused", "finalize", _problem(403, "badCSR", _EVIL), "forged"),
    Row("finalize says that the order is not ready", "finalize", _problem(403, "orderNotReady", "not yet"), "."),
    Row("finalize works for a year", "finalize", lambda x, reply: reply.having(status="processing").without("certificate").with_header("Retry-After", "31536000"), "."),
    Row("poll makes the order invalid", "finalize", _having(status="invalid"), "invalid"),
    Row("order has a certificate of http", "finalize", lambda x, reply: reply.having(certificate=f"http://{x.row}.ca.localhost:{x.ca.http}/cert/1"), _HTTPS_ONLY, quick=True),
    Row("order has a certificate of a file", "finalize", _having(certificate="file:///etc/ssl/cert.pem"), "file:"),
    Row("order has a certificate elsewhere", "finalize", _having(certificate="https://127.0.0.1:1/"), "no connection to 127.0.0.1"),
]


# What is wrong with certificates.


def _issued(other: bool = False, names: list[str] | None = None, **how: Any) -> Spoil:
    """A certificate that was not ordered like that."""

    def spoil(x: Exchange, reply: Reply) -> Reply:
        issuer = x.ca.issuer
        own = names if names is not None else x.ca.names(x.row)
        if other:
            public = ec.generate_private_key(ec.SECP256R1()).public_key()
            pem = issuer.certify(public, *own, **how).pem + issuer.certificate.pem
            return Reply(200, reply.headers, pem.encode())
        return Reply(200, reply.headers, x.ca.issue(x.ca.csr(x.row), *own, **how))

    return spoil


def _chain(make: Callable[[bytes, bytes], bytes]) -> Spoil:
    """A chain made of the right leaf and its issuer."""
    return lambda x, reply: Reply(200, reply.headers, make(*_halves(x, reply)))


def _halves(x: Exchange, reply: Reply) -> tuple[bytes, bytes]:
    issuer = x.ca.issuer.certificate.pem.encode()
    return reply.body.removesuffix(issuer), issuer


def _damaged(pem: bytes, at: int) -> bytes:
    lines = pem.splitlines()
    der = bytearray(base64.b64decode(b"".join(lines[1:-1])))
    der[at] ^= 0x5A
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(der)) + b"-----END CERTIFICATE-----\n"


_NOW = datetime.now(UTC)
_UNUSABLE = "cannot be used"

CERTIFICATES = [
    Row("cert is for another key", "cert", _issued(other=True), "do not match", quick=True),
    Row("cert is for another name", "cert", _issued(names=["victim.example.org"]), "is not for", quick=True),
    Row("cert is for more names", "cert", _issued(names=["x.example.org", "y.example.org"]), "is not for"),
    Row("cert has a name with escapes", "cert", lambda x, reply: _issued(names=[f"a{chr(27)}[2J.example.org"])(x, reply), "is not for"),
    Row("cert has no names", "cert", _issued(san=False), "is not for"),
    Row("cert has expired", "cert", _issued(not_before=_NOW - timedelta(days=100), days=90), "expired|valid", quick=True),
    Row("cert is of the future", "cert", _issued(not_before=_NOW + timedelta(days=30)), "valid"),
    Row("cert lives for a second", "cert", _issued(days=1 / 86400), "."),
    Row("cert lives for 8,000 years", "cert", _issued(not_before=datetime(1990, 1, 1, tzinfo=UTC), days=365 * 8000), "."),
    Row("cert is of 1950", "cert", _issued(not_before=datetime(1950, 1, 1, tzinfo=UTC), days=10), "."),
    Row("cert is empty", "cert", _body(b""), _UNUSABLE, quick=True),
    Row("cert is a page", "cert", _body(b"<html></html>", "text/html"), _UNUSABLE),
    Row("cert is garbage in PEM", "cert", _body(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), _UNUSABLE, quick=True),
    Row("cert is PEM without an end", "cert", _chain(lambda leaf, issuer: leaf[:-20]), _UNUSABLE),
    Row("cert is a private key", "cert", _body(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), _UNUSABLE),
    Row("cert has a damaged signature", "cert", _chain(lambda leaf, issuer: _damaged(leaf, -5) + issuer), "."),
    Row("cert has a damaged length", "cert", _chain(lambda leaf, issuer: _damaged(leaf, 1) + issuer), _UNUSABLE),
    Row("cert has a damaged key", "cert", _chain(lambda leaf, issuer: _damaged(leaf, 180) + issuer), "."),
    Row("chain has 11 certificates", "cert", _chain(lambda leaf, issuer: leaf + 10 * issuer), "10", quick=True),
    Row("chain has 1,400 certificates", "cert", _chain(lambda leaf, issuer: leaf + 1_399 * issuer), ".", quick=True),
    Row("chain has 64 KB of comments", "cert", _chain(lambda leaf, issuer: leaf + issuer + 70_000 * b"#"), "."),
    Row("chain begins with the issuer", "cert", _chain(lambda leaf, issuer: issuer + leaf), "."),
    Row("chain has a damaged issuer", "cert", _chain(lambda leaf, issuer: leaf + _damaged(issuer, 1)), _UNUSABLE),
    Row("chain has the issuer of another", "cert", _chain(lambda leaf, issuer: leaf + leaf), "."),
    Row("chain has garbage between", "cert", _chain(lambda leaf, issuer: leaf + _EVIL.encode() + issuer), "."),
    Row("chain has Windows lines", "cert", _chain(lambda leaf, issuer: (leaf + issuer).replace(b"\n", b"\r\n")), "finished"),
    Row("chain names 500 others", "cert", _headers(*(("Link", f'<https://x.invalid/{at}>;rel="alternate"') for at in range(90))), "."),
    Row("chain names others of http", "cert", lambda x, reply: _headers(("Link", f'<http://{x.row}.ca.localhost:{x.ca.http}/cert/2>;rel="alternate"'))(x, reply), "."),
    Row("chain names its issuer for ever", "cert", lambda x, reply: Reply(200, [*reply.headers, ("Link", f'<https://{x.row}.ca.localhost:{x.ca.https}/cert/up>;rel="up"')], _halves(x, reply)[0]), "."),
    Row("cert has another type", "cert", _header("Content-Type", "text/html; charset=\x1b[2J"), "."),
    Row("cert has no type", "cert", _header("Content-Type", None), "."),
]


# Responders.


def _says(**how: Any) -> Spoil:
    return lambda x, reply: Reply(200, reply.headers, x.ca.ocsp(x.row, **how))


_INVALID = "cannot be used"
_AT_RESPONDER = "ocsp"
_OCSP = b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n"

RESPONDERS = [
    Row("ocsp is silent", "ocsp", _silent, _LATE),
    Row("ocsp closes", "ocsp", _sends(b""), _BROKEN, quick=True),
    Row("ocsp drips", "ocsp", _drips(_OCSP + b"\r\n", b"0"), _LATE),
    Row("ocsp floods headers", "ocsp", _floods(_OCSP, b"X-Padding: " + 1000 * b"x" + b"\r\n"), _MUCH, quick=True),
    Row("ocsp floods trailers", "ocsp", _floods(_OCSP + b"Transfer-Encoding: chunked\r\n\r\n1\r\n0\r\n0\r\n", b"X-Padding: " + 1000 * b"x" + b"\r\n"), _MUCH, quick=True),
    Row("ocsp floods the body", "ocsp", _floods(_OCSP + b"\r\n", 1000 * b"0"), _MUCH, quick=True),
    Row("ocsp floods status 100", "ocsp", _floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), _MUCH),
    Row("ocsp redirects", "ocsp", _status(302, Location="file:///etc/passwd"), "status 302"),
    Row("ocsp is out of order in escapes", "ocsp", _status(500, _EVIL.encode(), Retry_After=99 * "9"), "status 500"),
    Row("ocsp is a page", "ocsp", _body(b"<html></html>", "text/html\x1b[2J"), "text/html"),
    Row("ocsp has a type of 30 KB", "ocsp", _header("Content-Type", 30_000 * "x"), "finished|xxx"),
    Row("ocsp is empty", "ocsp", _body(b""), _INVALID, quick=True),
    Row("ocsp is garbage", "ocsp", _body(b"\x30\x03\x0a\x01\x00garbage"), _INVALID),
    Row("ocsp refuses", "ocsp", _body(b"\x30\x03\x0a\x01\x06"), "refuses|unauthorized"),
    Row("ocsp is cut", "ocsp", _body(lambda right: right[:-30]), _INVALID),
    Row("ocsp has a damaged signature", "ocsp", _body(lambda right: right[:-1] + bytes([right[-1] ^ 1])), _INVALID, quick=True),
    Row("ocsp has garbage behind", "ocsp", _body(lambda right: right + 50_000 * b"x"), f"{_INVALID}|good"),
    Row("ocsp is of the future", "ocsp", _says(age=-timedelta(days=2)), "valid"),
    Row("ocsp has expired", "ocsp", _says(age=timedelta(days=9), life=timedelta(days=1)), "valid"),
    Row("ocsp ends before it begins", "ocsp", _says(life=-timedelta(days=1)), "valid"),
    Row("ocsp does not know", "ocsp", _says(status="unknown"), "does not know"),
]


# Proxies.


def _tunnel(then: Callable[[Exchange], None]) -> Spoil:
    return _sends(b"HTTP/1.1 200 OK\r\n\r\n", then)


PROXIES = [
    Row("proxy is silent", "proxy", _silent, "timeout"),
    Row("proxy closes", "proxy", _sends(b""), "proxy|failed", quick=True),
    Row("proxy resets", "proxy", _resets, "proxy|failed"),
    Row("proxy wants a password", "proxy", _status(407, Proxy_Authenticate='Basic realm="\x1b[2J"'), "proxy.*407"),
    Row("proxy has no way", "proxy", _status(502), "proxy.*502"),
    Row("proxy redirects", "proxy", _status(302, Location="http://x.invalid/"), "proxy.*302"),
    Row("proxy floods headers", "proxy", _floods(b"HTTP/1.1 200 OK\r\n", b"X-Padding: " + 1000 * b"x" + b"\r\n"), f"{_MUCH}|proxy", quick=True),
    Row("proxy floods status 100", "proxy", _floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), f"{_MUCH}|CONNECT tunnel failed"),
    Row("proxy floods its refusal", "proxy", _floods(b"HTTP/1.1 403 X\r\n\r\n", 1000 * b"x"), f"{_MUCH}|proxy"),
    Row("proxy drips", "proxy", _drips(b"HTTP/1.1 200 OK\r\nX: ", b"x"), f"{_LATE}|proxy"),
    Row("proxy is silent behind its tunnel", "proxy", _tunnel(Exchange.silence), _LATE),
    Row("proxy speaks http in its tunnel", "proxy", _tunnel(lambda x: x.send(b"HTTP/1.1 200 OK\r\n\r\n{}")), "TLS"),
    Row("proxy floods its tunnel", "proxy", _tunnel(lambda x: x.flood(1000 * b"x")), "TLS"),
]

_ALL = [*_http_rows(), *DOCUMENTS, *CERTIFICATES, *RESPONDERS, *PROXIES]
ROWS = {f"r{number:03}": row for number, row in enumerate(_ALL)}
"""All rows by the first label of their hosts."""

HONEST = {f"r90{number}": Row("is honest", "nothing", lambda x, reply: reply, "finished", quick=True) for number in range(4)}
"""Authorities among them that do nothing wrong."""
