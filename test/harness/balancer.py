"""A load balancer that ends TLS, and passes what is in it to a server."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading

from .pki import Leaf
from .proxy import copy


class Balancer:
    """Listens at `port` with a certificate of its own, for any name, and without ALPN. `connections` counts clients."""

    def __init__(self, port: int, leaf: Leaf, server: int) -> None:
        self.connections = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.chain_file, leaf.key_file)
        balancer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                balancer.connections += 1
                # A client that is not content with the handshake leaves.
                with contextlib.suppress(OSError):
                    client = context.wrap_socket(self.request, server_side=True)
                    with client, socket.create_connection(("127.0.0.1", server)) as behind:
                        back = threading.Thread(target=copy, args=(behind, client), daemon=True)
                        back.start()
                        copy(client, behind)
                        back.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
