"""Keys that go live without a restart: who can read them, and what is left of them when they are replaced."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from harness.httpd import Httpd
from harness.memory import holds
from harness.pebble import Pebble
from harness.pki import Key
from harness.sandbox import Access, Sandbox
from harness.world import World

pytestmark = pytest.mark.module("ours")

NAME = "a.example.org"


def _reader(sandbox: Sandbox) -> Callable[[], tuple[str, list[Key]]]:
    """A function that returns the text of the live set, and its keys."""
    secret = base64.urlsafe_b64decode(json.loads((sandbox.store / "md_store.json").read_text())["key"])

    def read() -> tuple[str, list[Key]]:
        text = (sandbox.store / "live" / NAME / "live.json").read_text()
        pems = [pair["private-key"] for pair in json.loads(text)["pairs"]]
        return text, [load_pem_private_key(pem.encode(), secret) for pem in pems]  # type: ignore[misc]

    return read


@pytest.mark.pebble(nonce_reject=0)
def test_a_key_that_was_replaced_is_nowhere_in_memory(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World) -> None:
    clock = world.clock(httpd)
    # What OpenSSL leaves of the keys that it generates counts.
    httpd.env["RSA_KEYS"] = ""
    httpd.config.add("MDActivation live", "MDPrivateKeys rsa2048 secp256r1", "MDRenewWindow 100d").managed(NAME)
    httpd.start().wait_log("MD0036")
    tree = sandbox.tree()
    assert {path: str(tree[path]) for path in ("live", f"live/{NAME}", f"live/{NAME}/live.json", "domains", f"domains/{NAME}")} == {
        "live": "0755 www-data",
        f"live/{NAME}": "0755 www-data",
        f"live/{NAME}/live.json": "0644 www-data",
        "domains": "0700 root",
        f"domains/{NAME}": "0700 root",
    }
    assert tree["md_store.json"] == Access(0o600, "root")
    read = _reader(sandbox)
    processes = [httpd.parent, *httpd.children()]
    sets = dict([read()])
    assert all("BEGIN PRIVATE KEY" not in text and text.count("BEGIN ENCRYPTED PRIVATE KEY") == 2 for text in sets)

    def replaced() -> bool:
        sets.update([read()])
        # A tenth of the life passes between two orders.
        clock.shift(days=10 * len(sets))
        # Whoever makes a handshake takes the set.
        httpd.served(NAME)
        return len(sets) >= 3

    httpd.wait(replaced, what="two renewals")
    first, *others = sets.values()
    # The parent has what is live, too, for children to come: it looks every ten seconds.
    for proc in processes:
        assert proc

        def has_a_later_key(pid: int = proc.pid) -> bool:
            others.append(read()[1])
            return any(holds(pid, key) for keys in others[-2:] for key in keys)

        httpd.wait(has_a_later_key, what=f"a key in the memory of {proc}")
    # A connection may be about to end that has the first set.
    httpd.wait(lambda: not any(holds(proc.pid, key) for proc in processes if proc for key in first), what="memory without the first keys")
