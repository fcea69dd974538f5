"""A stand-in for tailscaled: the part of its local API that hands out certificates, over a Unix domain socket."""

from __future__ import annotations

import pwd
import re
import socket
import socketserver
import struct
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from .pki import Ca, Leaf, pem_key

PREFIX = "/localapi/v0/cert/"


@dataclass
class Tailscaled:
    """Answers as the daemon does, for one machine's name; anyone may connect, root and `permitted` may have certificates."""

    socket: Path
    ca: Ca
    name: str
    permitted: str | None = None
    """TS_PERMIT_CERT_UID."""
    days: float = 90
    """The lives of its certificates."""
    fails: tuple[int, str] | None = None
    """Status and text in place of a certificate."""
    leaf: Leaf | None = None
    """The certificate that it has; a new one replaces it when it does not last as long as asked for."""
    pair: str | None = None
    """Answer in place of the pair."""
    queries: list[dict[str, str]] = field(default_factory=list)

    def start(self) -> Tailscaled:
        self._server = _Server(str(self.socket), self._handler())
        self.socket.chmod(0o666)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.socket.unlink()

    def _answer(self, handler: BaseHTTPRequestHandler) -> tuple[int, str]:
        """Status and body, in the order in which the daemon looks."""
        url, headers = urlsplit(handler.path), handler.headers
        if headers.get("Referer") or headers.get("Origin") or headers.get("Host") not in ("", "local-tailscaled.sock"):
            return 403, "invalid localapi request\n"
        if not url.path.startswith(PREFIX):
            return 404, "404 page not found\n"
        if _user_of(handler.connection) not in ("root", self.permitted):
            return 403, "cert access denied\n"
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.queries.append(query)
        validity = re.fullmatch(r"(\d+)s", query.get("min_validity", "0s"))
        if not validity:
            return 400, f"invalid validity parameter: time: invalid duration {query['min_validity']!r}\n"
        if self.fails:
            return self.fails[0], self.fails[1] + "\n"
        if (domain := url.path.removeprefix(PREFIX)) != self.name:
            return 500, f'invalid domain "{domain}"; must be one of ["{self.name}"]\n'
        leaf = self._valid_for(timedelta(seconds=int(validity[1])))
        key, chain = pem_key(leaf.key), leaf.chain_file.read_text()
        kinds = {"": chain, "crt": chain, "cert": chain, "key": key, "pair": self.pair or key + chain}
        if (kind := query.get("type", "")) not in kinds:
            return 400, 'invalid type; want "cert" (default), "key", or "pair"\n'
        return 200, kinds[kind]

    def _valid_for(self, validity: timedelta) -> Leaf:
        if self.leaf is None or self.leaf.certificate.not_after - datetime.now(UTC) < validity:
            self.leaf = self.ca.leaf(self.name, days=self.days)
        return self.leaf

    def _handler(daemon) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, text = daemon._answer(self)
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

            def address_string(self) -> str:
                return "unix"

        return Handler


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def _user_of(connection: socket.socket) -> str:
    """The user at the other end."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pwd.getpwuid(uid).pw_name
