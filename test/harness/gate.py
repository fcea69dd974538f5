"""A door in front of a Pebble that stops chosen requests, or answers them: a renewal can be caught at any step."""

from __future__ import annotations

import json
import select
import ssl
import threading
from collections.abc import Callable
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .http import Response, request
from .pebble import Pebble
from .pki import Leaf

_SKIPPED = {"host", "connection", "content-length", "transfer-encoding", "keep-alive"}


class Hold:
    """Stops the next `count` requests whose path has `path` in it: before the CA gets them, or with `answer` after it
    has done what was asked, before the client gets the answer. A client that leaves meanwhile is forgotten."""

    def __init__(self, path: str, answer: bool, count: int) -> None:
        self.path, self.answer = path, answer
        self._left, self._caught = count, 0
        self._lock = threading.Lock()
        self._open = threading.Event()

    @property
    def held(self) -> int:
        """How many requests it has stopped."""
        return self._caught

    def release(self) -> None:
        """Let them pass, and all that come."""
        self._open.set()

    def catches(self, path: str) -> bool:
        with self._lock:
            if self._left == 0 or self._open.is_set() or self.path not in path:
                return False
            self._left -= 1
            return True

    def stop_here(self) -> None:
        self._caught += 1
        self._open.wait()


class Refusal:
    """Answers the next `count` requests whose path has `path` in it, in place of the CA, which does not see them."""

    def __init__(self, path: str, answer: Response, count: int) -> None:
        self.path, self.answer = path, answer
        self._left, self.given = count, 0
        self._lock = threading.Lock()

    def catches(self, path: str) -> bool:
        with self._lock:
            if self._left == 0 or self.path not in path:
                return False
            self._left -= 1
            self.given += 1
            return True


class Gate:
    """Passes everything on to a Pebble, whose answers then name this address instead of its own."""

    def __init__(self, pebble: Pebble, leaf: Leaf, port: int) -> None:
        self.pebble, self.port = pebble, port
        self._holds: list[Hold] = []
        self._refusals: list[Refusal] = []
        self._lock, self._under_way = threading.Lock(), 0
        self.most_at_once = 0
        """How many requests there were at most at a time."""
        self.answered: list[str] = []
        """Paths of all requests, in the order of their answers."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.chain_file, leaf.key_file)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def get_request(self) -> tuple[Any, Any]:
                sock, address = super().get_request()
                # The thread of the connection shakes hands, at its first read.
                return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), address

            def handle_error(self, *_: object) -> None:
                """Clients that are killed leave without a word."""

        self._server = Server(("127.0.0.1", port), _handler(self._pass))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def directory(self) -> str:
        """The directory URL: MDCertificateAuthority."""
        return f"https://localhost:{self.port}/dir"

    def hold(self, path: str, answer: bool = False, count: int = 1) -> Hold:
        """Stop requests: `/dir`, `/sign-me-up`, `/order-plz`, `/authZ/`, `/chalZ/`, `/finalize-order/`, `/my-order/`,
        `/certZ/`."""
        self._holds.append(Hold(path, answer, count))
        return self._holds[-1]

    def refuse(self, path: str, status: int, problem: dict[str, Any], count: int = 1, **headers: str) -> Refusal:
        """Answer requests with a problem document; `_` in the name of a header is a `-`."""
        message = HTTPMessage()
        for name, value in {"Content-Type": "application/problem+json", **headers}.items():
            message[name.replace("_", "-")] = value
        self._refusals.append(Refusal(path, Response(status, message, json.dumps(problem).encode()), count))
        return self._refusals[-1]

    def stop(self) -> None:
        for hold in self._holds:
            hold.release()
        self._server.shutdown()
        self._server.server_close()

    def _pass(self, path: str, send: Callable[[], Response], is_there: Callable[[], bool]) -> Response | None:
        with self._lock:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            return self._pass_or_hold(path, send, is_there)
        finally:
            with self._lock:
                self._under_way -= 1
                self.answered.append(path)

    def _pass_or_hold(self, path: str, send: Callable[[], Response], is_there: Callable[[], bool]) -> Response | None:
        hold = next((hold for hold in self._holds if hold.catches(path)), None)
        if hold and not hold.answer:
            hold.stop_here()
            if not is_there():
                return None
        refusal = next((refusal for refusal in self._refusals if refusal.catches(path)), None)
        answer = refusal.answer if refusal else send()
        if hold and hold.answer:
            hold.stop_here()
        return answer


def _handler(handle: Callable[[str, Callable[[], Response], Callable[[], bool]], Response | None]) -> Any:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {key: value for key, value in self.headers.items() if key.lower() not in _SKIPPED}
            gate: Gate = handle.__self__  # type: ignore[attr-defined]

            def send() -> Response:
                url, pebble = f"https://{self.headers['Host']}{self.path}", gate.pebble
                return request(url, pebble.port, ca=pebble.trust, method=self.command, headers=headers, body=body)

            def is_there() -> bool:
                # Nothing comes before the answer but the end.
                return not select.select([self.connection], [], [], 0)[0]

            answer = handle(self.path, send, is_there)
            if answer is None:
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for key, value in answer.headers.items():
                if key.lower() not in _SKIPPED:
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_POST = _pass

        def log_message(self, *_: object) -> None:
            pass

    return Handler
