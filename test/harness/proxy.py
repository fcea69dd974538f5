"""An HTTP proxy that opens tunnels, passes plain requests on, and counts both."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy:
    """`tunnels` and `requests` have what was asked for, as `host:port` and as URLs. It resolves no names: all is on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.tunnels: list[str] = []
        self.requests: list[str] = []
        self.login: str | None = None
        """`user:password` without which nothing is passed on."""
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def parse_request(self) -> bool:
                if not super().parse_request():
                    return False
                wanted = proxy.login and "Basic " + base64.b64encode(proxy.login.encode()).decode()
                if wanted and self.headers.get("Proxy-Authorization") != wanted:
                    self.send_response(407)
                    self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return False
                return True

            def do_CONNECT(self) -> None:  # noqa: N802 - http.server's name
                proxy.tunnels.append(self.path)
                with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as server:
                    self.send_response(200)
                    self.end_headers()
                    back = threading.Thread(target=copy, args=(server, self.connection), daemon=True)
                    back.start()
                    copy(self.connection, server)
                    back.join()
                self.close_connection = True

            def _pass_on(self) -> None:
                proxy.requests.append(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
                headers = {"Content-Type": self.headers.get("Content-Type", "")}
                direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                with direct.open(urllib.request.Request(self.path, body, headers, method=self.command)) as answer:
                    data = answer.read()
                    self.send_response(answer.status)
                    self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            do_GET = do_POST = _pass_on

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def copy(source: socket.socket, target: socket.socket) -> None:
    # One that goes away in the middle is no matter of the proxy.
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
