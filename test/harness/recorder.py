"""An HTTP server that notes what it is asked and says what it is told to: a CA that is none."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Asked:
    """A recorded request."""

    method: str
    path: str
    headers: HTTPMessage


class Recorder:
    """Answers every request alike, on a thread; 200 with an empty body until told otherwise."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[Asked] = []
        self._answer: tuple[int, bytes, dict[str, str]] = (200, b"", {})
        self._open = threading.Event()
        self._open.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dir"

    def says(self, status: int, body: bytes = b"", **headers: str) -> Recorder:
        """Answer this from now on; `_` in the name of a header is a `-`."""
        self._answer = (status, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return self

    def hangs(self, on: bool = True) -> Recorder:
        """Take requests and stay silent, until `hangs(False)`."""
        (self._open.clear if on else self._open.set)()
        return self

    def stop(self) -> None:
        self._open.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(recorder) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                recorder.requests.append(Asked(self.command, self.path, self.headers))
                recorder._open.wait()
                # Somebody who had to wait may be gone.
                with contextlib.suppress(ConnectionError):
                    self._say()

            def _say(self) -> None:
                status, body, headers = recorder._answer
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_POST = _reply

            def log_message(self, *_: object) -> None:
                pass

        return Handler
