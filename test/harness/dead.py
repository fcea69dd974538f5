"""A server that is dead in one of several ways: connections to it cost the one who waits their time."""

from __future__ import annotations

import contextlib
import socket
import threading


class Dead:
    """Listens, and `silent`: accepts and says nothing; `drips`: says a byte now and then; `drops`: does not even accept."""

    def __init__(self, port: int, way: str) -> None:
        self.url = f"http://127.0.0.1:{port}/dir"
        self._way = way
        self._ended = threading.Event()
        self._kept: list[socket.socket] = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(0 if way == "drops" else 512)
        if way == "drops":
            # The kernel drops what comes while the queue of a listener is full.
            for _ in range(4):
                self._fill(port)
        else:
            threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for each in [self._listener, *self._kept]:
            each.close()

    def _fill(self, port: int) -> None:
        client = socket.socket()
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.connect(("127.0.0.1", port))
        self._kept.append(client)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._kept.append(client)
                if self._way == "drips":
                    threading.Thread(target=self._drip, args=(client,), daemon=True).start()

    def _drip(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Padding: ")
            while not self._ended.wait(1 / 12):
                client.sendall(b"x")
