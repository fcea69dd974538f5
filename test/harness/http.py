"""Plain requests to one server: every host name leads to loopback."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import ssl
import subprocess
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .certificate import Certificate


@dataclass(frozen=True)
class Response:
    """An answer; `certificate` is the server's for https."""

    status: int
    headers: HTTPMessage
    body: bytes
    certificate: Certificate | None = None

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.status} {dict(self.headers)} {self.body[:200]!r}>"


def request(
    url: str,
    port: int,
    *,
    ca: Path | None = None,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 30.0,
    address: str = "127.0.0.1",
) -> Response:
    """Send one request for `url` to `port` at `address`; with `ca` the certificate and name are verified."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    sock: socket.socket = socket.create_connection((address, port), timeout)
    certificate = None
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca) if ca else ssl._create_unverified_context()
        secure = context.wrap_socket(sock, server_hostname=host)
        certificate = Certificate.from_der(secure.getpeercert(binary_form=True) or b"")
        sock = secure
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    connection.sock = sock
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        # Pebble refuses requests without a User-Agent.
        usual = {"Host": parts.netloc, "User-Agent": "mod_md-tests", "Connection": "close"}
        connection.request(method, path, body, usual | (headers or {}))
        answer = connection.getresponse()
        return Response(answer.status, answer.headers, answer.read(), certificate)
    finally:
        connection.close()


def request_h2(url: str, port: int) -> Response:
    """Send a GET for `url` over HTTP/2, and nothing else, to 127.0.0.1:`port`; nobody verifies the certificate."""
    command = ["curl", "--http2", "--insecure", "--silent", "--show-error", "--include", "--noproxy", "*"]
    command += ["--connect-to", f"::127.0.0.1:{port}", url]
    done = subprocess.run(command, capture_output=True, timeout=60)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    first, _, fields = head.partition(b"\r\n")
    assert first.startswith(b"HTTP/2 "), (first, done.stderr)
    return Response(int(first.split()[1]), http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n")), body)


def send(data: bytes, port: int) -> bytes:
    """Send exactly these bytes to 127.0.0.1:`port`; all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        # A server that refuses may close before it has read everything.
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        parts = []
        with contextlib.suppress(ConnectionError):
            while part := sock.recv(65536):
                parts.append(part)
        return b"".join(parts)
