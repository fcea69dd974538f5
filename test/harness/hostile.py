"""A CA, an OCSP responder and a proxy that misbehave: each row of a table is one way, and has a host name of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import ssl
import struct
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from .certificate import Certificate
from .ocsp import Answer as OcspAnswer
from .pki import Ca, Leaf
from .ports import Ports

_TOKEN = "DGyRejmCefe7v4NfDGDKfA-9xQ1_pLs"
_HOST = re.compile(r"\b(r\d{3})\.ca\.localhost\b")


@dataclass
class Reply:
    """An answer as it is right, for a row to spoil."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    @classmethod
    def of_json(cls, document: Any, status: int = 200, **headers: str) -> Reply:
        """A document; `_` in the name of a header is a `-`."""
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return cls(status, [("Content-Type", "application/json"), *named], json.dumps(document).encode())

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    def with_document(self, document: Any) -> Reply:
        return Reply(self.status, self.headers, json.dumps(document).encode())

    def having(self, **members: Any) -> Reply:
        """The document with these members."""
        return self.with_document({**self.document, **members})

    def without(self, member: str) -> Reply:
        """The document without this member."""
        return self.with_document({key: value for key, value in self.document.items() if key != member})

    def with_header(self, name: str, value: str | None) -> Reply:
        """The answer with this header in place of others of its name; None removes them."""
        kept = [(key, old) for key, old in self.headers if key.lower() != name.lower()]
        return Reply(self.status, kept if value is None else [*kept, (name, value)], self.body)

    def encode(self, method: str = "GET") -> bytes:
        head = [f"HTTP/1.1 {self.status} X", *(f"{name}: {value}" for name, value in self.headers)]
        if not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in self.headers):
            head.append(f"Content-Length: {len(self.body)}")
        text = "\r\n".join(head).encode("utf-8", "surrogateescape") + b"\r\n\r\n"
        return text if method == "HEAD" else text + self.body


class Exchange:
    """A request, and the connection that it came by."""

    def __init__(self, ca: HostileCa, sock: socket.socket, method: str, path: str, row: str) -> None:
        self.ca, self.method, self.path, self.row = ca, method, path, row
        self._socket = sock

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def silence(self) -> None:
        """Wait until the client leaves, or the server ends."""
        self._socket.settimeout(0.5)
        while not self.ca.ended.is_set():
            try:
                if not self._socket.recv(1):
                    return
            except TimeoutError:
                continue

    def reset(self) -> None:
        """End the connection by a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def flood(self, block: bytes, most: int = 64 << 20) -> None:
        """Send a block again and again, until the client leaves."""
        many = block * max(1, (64 << 10) // len(block))
        for _ in range(most // len(many)):
            if self.ca.ended.is_set():
                return
            self.send(many)

    def drip(self, data: bytes) -> None:
        """Send a byte now and then, for ever."""
        at = 0
        while not self.ca.ended.wait(1 / 20):
            self.send(data[at % len(data) :][:1])
            at += 1


Spoil = Callable[[Exchange, Reply], Reply | None]
"""Returns the answer to send in place of the right one; None if something was sent, or the connection is to end."""


@dataclass(frozen=True)
class Row:
    """One way to misbehave."""

    what: str
    place: str
    """Resource that is spoilt: `dir`, `nonce`, `account`, `order`, `authz`, `chall`, `finalize`, `poll`, `cert`; or `ocsp`, `proxy`."""
    does: Spoil
    ends: str
    """Regular expression for the last detail of the domain's report; `finished` where the renewal succeeds all the same."""
    requests: int = 16
    """The most requests that the server makes."""
    quick: bool = False
    """Whether the row is in the gate."""


@dataclass
class _State:
    """What the CA knows of a row."""

    names: list[str] = field(default_factory=list)
    challenge: str = "pending"
    certificate: bytes = b""
    csr: bytes = b""


class HostileCa:
    """Serves all rows at one port for https and one for http; whose answer it is follows from the host, which is `rNNN.ca.localhost`.

    Without a row it is a CA that issues to everybody.
    """

    def __init__(self, rows: dict[str, Row], tls: Leaf, issuer: Ca) -> None:
        self.rows, self.issuer = rows, issuer
        self.ended = threading.Event()
        self.requests: dict[str, list[str]] = {key: [] for key in rows}
        """Methods and paths of the requests, by the key of the row."""
        self.leaves: dict[str, Leaf] = {}
        """Certificates that the responder is asked about."""
        self._states: dict[str, _State] = {key: _State() for key in rows}
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(tls.chain_file, tls.key_file)
        self._sockets: list[socket.socket] = []
        self.https, self.http = self._listen(True), self._listen(False)

    def directory(self, key: str) -> str:
        return f"https://{key}.ca.localhost:{self.https}/dir"

    @property
    def proxy(self) -> str:
        """An http proxy that knows the rows by the hosts that it is asked for."""
        return f"http://127.0.0.1:{self.http}"

    def responder(self, key: str) -> str:
        return f"http://{key}.ca.localhost:{self.http}/ocsp"

    def stop(self) -> None:
        self.ended.set()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _listen(self, tls: bool) -> int:
        port = Ports.mine().take()
        listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self._sockets.append(listener)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=self._serve, args=(client, tls), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return port

    def _serve(self, client: socket.socket, tls: bool) -> None:
        # Clients leave in the middle of what is too much for them.
        with contextlib.suppress(OSError, ValueError), client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._converse(self._context.wrap_socket(client, server_side=True) if tls else client)

    def _converse(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as reader:
            while line := reader.readline(1 << 16):
                method, path, _ = line.decode("latin-1").split(" ", 2)
                headers = dict(_headers(reader))
                body = reader.read(int(headers.get("content-length", 0)))
                found = _HOST.search(path if method == "CONNECT" else headers.get("host", ""))
                key = found[1] if found else ""
                row = self.rows.get(key)
                if row is None:
                    return
                self.requests[key].append(f"{method} {path[:60]}")
                exchange = Exchange(self, sock, method, path, key)
                place, reply = self._answer(exchange, body)
                spoilt = row.does(exchange, reply) if place == row.place else reply
                if spoilt is None:
                    return
                exchange.send(spoilt.encode(method))
                if method == "CONNECT":
                    return

    def _answer(self, exchange: Exchange, body: bytes) -> tuple[str, Reply]:
        """The resource that is asked for, and the right answer."""
        key, path = exchange.row, exchange.path
        if exchange.method == "CONNECT":
            return "proxy", Reply(502)
        if path.startswith("/ocsp"):
            return "ocsp", self._status(key, exchange, body)
        place = path.strip("/").split("/")[0]
        payload = _payload(body)
        reply = self._resource(key, place, payload)
        return ("poll" if place == "order" and path != "/order" else place), reply.with_header("Replay-Nonce", "bm9uY2U")

    def _resource(self, key: str, place: str, payload: dict[str, Any]) -> Reply:
        base, state = f"https://{key}.ca.localhost:{self.https}", self._states[key]
        match place:
            case "dir":
                names = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order", "revokeCert": "revoke"}
                return Reply.of_json({name: f"{base}/{part}" for name, part in names.items()})
            case "nonce":
                return Reply(200)
            case "account":
                return Reply.of_json({"status": "valid"}, 201, Location=f"{base}/account/1")
            case "authz":
                challenge = {"type": "http-01", "url": f"{base}/chall/1", "status": state.challenge, "token": _TOKEN}
                identifier = {"type": "dns", "value": state.names[0] if state.names else ""}
                return Reply.of_json({"status": state.challenge, "identifier": identifier, "challenges": [challenge]})
            case "chall":
                state.challenge = "valid"
                return Reply.of_json({"type": "http-01", "url": f"{base}/chall/1", "status": "valid", "token": _TOKEN})
            case "cert":
                return Reply(200, [("Content-Type", "application/pem-certificate-chain")], state.certificate)
        if "identifiers" in payload:
            state.names = [each["value"] for each in payload["identifiers"]]
        if "csr" in payload:
            state.csr = base64.urlsafe_b64decode(payload["csr"] + "==")
            state.certificate = self.issue(state.csr, *state.names)
        status = "valid" if state.certificate else "ready" if state.challenge == "valid" else "pending"
        identifiers = [{"type": "dns", "value": name} for name in state.names]
        order = {"status": status, "identifiers": identifiers, "authorizations": [f"{base}/authz/1"], "finalize": f"{base}/finalize/1"}
        if state.certificate:
            order["certificate"] = f"{base}/cert/1"
        created = "identifiers" in payload
        return Reply.of_json(order, 201 if created else 200, Location=f"{base}/order/1")

    def csr(self, key: str) -> bytes:
        """The last CSR of a row, in DER."""
        return self._states[key].csr

    def names(self, key: str) -> list[str]:
        """The names of a row's order."""
        return self._states[key].names

    def issue(self, csr: bytes, *names: str, **how: Any) -> bytes:
        """A chain for the key of a CSR; `how` are options of `Ca.leaf`."""
        public = x509.load_der_x509_csr(csr).public_key()
        return (self.issuer.certify(public, *names, **how).pem + self.issuer.certificate.pem).encode()

    def _status(self, key: str, exchange: Exchange, body: bytes) -> Reply:
        asked = body or base64.b64decode(urllib.parse.unquote(exchange.path.removeprefix("/ocsp/")))
        der = self.ocsp(key, asked) if key in self.leaves else b""
        return Reply(200, [("Content-Type", "application/ocsp-response")], der)

    def ocsp(self, key: str, asked: bytes | None = None, **how: Any) -> bytes:
        """A response about the certificate of a row; `how` are the fields of `ocsp.Answer`."""
        leaf = self.leaves[key].certificate
        request = ocsp.load_der_ocsp_request(asked) if asked else _question(leaf, self.issuer)
        return OcspAnswer(leaf, **how).der(self.issuer, request)


def _question(leaf: Certificate, issuer: Ca) -> ocsp.OCSPRequest:
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf.x509, issuer.certificate.x509, hashes.SHA1())
    return builder.build()


def _headers(reader: Any) -> Iterator[tuple[str, str]]:
    while (line := reader.readline(1 << 16)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        yield name.strip().lower(), value.strip()


def _payload(body: bytes) -> dict[str, Any]:
    """The payload of a JWS, {} if there is none."""
    with contextlib.suppress(ValueError, KeyError):
        return dict(json.loads(base64.urlsafe_b64decode(json.loads(body)["payload"] + "==")))
    return {}
