"""An OCSP responder that says what a test wants, true or not."""

from __future__ import annotations

import base64
import threading
import urllib.parse
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from .certificate import Certificate
from .pki import Ca, Issuer, Leaf

_STATUS = {
    "good": ocsp.OCSPCertStatus.GOOD,
    "revoked": ocsp.OCSPCertStatus.REVOKED,
    "unknown": ocsp.OCSPCertStatus.UNKNOWN,
}


@dataclass(frozen=True)
class Request:
    """A question as it came in; `serial` and `nonce` are of its only certificate."""

    method: str
    serial: int
    nonce: bytes | None


@dataclass(frozen=True)
class Answer:
    """Answer about a certificate."""

    certificate: Certificate | None
    """Certificate that the answer is about; None for the requested one."""
    status: str = "good"
    """`good`, `revoked` or `unknown`."""
    age: timedelta = timedelta(minutes=1)
    """thisUpdate is that long ago; negative: it is in the future."""
    life: timedelta | None = timedelta(days=1)
    """From thisUpdate to nextUpdate; None: there is no nextUpdate."""
    signer: Ca | Leaf | None = None
    """Signer instead of the issuer: another CA (a forgery) or an OCSP leaf, whose certificate is sent along."""
    instead: Leaf | None = None
    """Speak of this certificate instead of the one asked for."""
    nonce: str = "echo"
    """`echo` the request's, `none`, or a `wrong` one."""

    def der(self, issuer: Ca | Issuer, request: ocsp.OCSPRequest) -> bytes:
        start = datetime.now(UTC) - self.age
        revoked = start - timedelta(days=1) if self.status == "revoked" else None
        builder, certificate = ocsp.OCSPResponseBuilder(), self.instead.certificate if self.instead else self.certificate
        what: dict[str, Any] = {
            "algorithm": request.hash_algorithm,
            "cert_status": _STATUS[self.status],
            "this_update": start,
            "next_update": start + self.life if self.life is not None else None,
            "revocation_time": revoked,
            "revocation_reason": x509.ReasonFlags.key_compromise if revoked else None,
        }
        if certificate:
            builder = builder.add_response(certificate.x509, issuer.certificate.x509, **what)
        else:
            builder = builder.add_response_by_hash(request.issuer_name_hash, request.issuer_key_hash, request.serial_number, **what)
        signer = self.signer or issuer
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate.x509)
        if isinstance(signer, Leaf):
            builder = builder.certificates([signer.certificate.x509])
        asked = _nonce(request)
        if asked and self.nonce != "none":
            said = asked if self.nonce == "echo" else bytes(len(asked))
            builder = builder.add_extension(x509.OCSPNonce(said), critical=False)
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Responder:
    """A responder for the certificates of one CA, on a thread; it does not know a certificate until told."""

    def __init__(self, ca: Ca | Issuer | None, port: int) -> None:
        self.ca, self.port = ca, port
        """The authority may come later, as one that has the responder's URL in its settings does."""
        self.requests: list[Request] = []
        self._answers: dict[int, Answer] = {}
        self._otherwise: Answer | None = None
        self._raw: tuple[int, bytes] | None = None
        self._open = threading.Event()
        self._open.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def says(self, leaf: Leaf | Certificate, status: str = "good", **how: Any) -> Responder:
        """Answer for this certificate from now on, and no more in bytes; `how` are the fields of `Answer`."""
        self._raw = None
        certificate = leaf.certificate if isinstance(leaf, Leaf) else leaf
        self._answers[certificate.x509.serial_number] = replace(Answer(certificate, status), **how)
        return self

    def says_of_others(self, status: str | None, **how: Any) -> Responder:
        """Answer for all certificates that it was not told of; None: it does not know them."""
        self._otherwise = replace(Answer(None, status), **how) if status else None
        return self

    def says_raw(self, body: bytes, http_status: int = 200) -> Responder:
        """Answer every question with these bytes from now on."""
        self._raw = (http_status, body)
        return self

    def hangs(self, on: bool = True) -> Responder:
        """Take questions and stay silent, until `hangs(False)`."""
        (self._open.clear if on else self._open.set)()
        return self

    def asked_for(self, leaf: Leaf) -> list[Request]:
        """The questions about a certificate so far."""
        return [each for each in self.requests if each.serial == leaf.certificate.x509.serial_number]

    def stop(self) -> None:
        self._open.set()
        self._server.shutdown()
        self._server.server_close()

    def _reply(self, method: str, question: bytes) -> tuple[int, bytes]:
        request = ocsp.load_der_ocsp_request(question)
        self.requests.append(Request(method, request.serial_number, _nonce(request)))
        self._open.wait()
        if self._raw:
            return self._raw
        answer = self._answers.get(request.serial_number, self._otherwise)
        if answer is None or self.ca is None:
            refused = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
            return 200, refused.public_bytes(serialization.Encoding.DER)
        return 200, answer.der(self.ca, request)

    def _handler(responder) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self._send("POST", self.rfile.read(int(self.headers["Content-Length"])))

            def do_GET(self) -> None:
                self._send("GET", base64.b64decode(urllib.parse.unquote(self.path[1:])))

            def _send(self, method: str, question: bytes) -> None:
                status, body = responder._reply(method, question)
                self.send_response(status)
                self.send_header("Content-Type", "application/ocsp-response")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _nonce(request: ocsp.OCSPRequest) -> bytes | None:
    try:
        return request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None
