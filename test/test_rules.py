"""Rules for a module of httpd: no threads and no network in the parent, threads that take no signals and end in time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.httpd import Httpd
from harness.pebble import Pebble
from harness.process import Proc
from harness.sandbox import Sandbox
from harness.world import World

NAME = "a.example.org"
pytestmark = pytest.mark.module("ours")
MPMS = pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])


@MPMS
def test_the_parent_has_one_thread_after_many_restarts(httpd: Httpd, pebble: Pebble) -> None:
    httpd.config.managed(NAME)
    httpd.start().obtain(NAME)
    # Renewals come due meanwhile, which the restarts interrupt.
    httpd.config.add("MDRenewWindow 99%")
    for restarts in range(20):
        httpd.graceful()
        assert httpd.parent and len(_threads(httpd.parent)) == 1, restarts
    assert httpd.served(NAME, ca=pebble.root).verified
    assert httpd.get(f"https://{NAME}/", ca=pebble.root).status == 200


@pytest.fixture
def renewing(world: World, httpd: Httpd) -> Httpd:
    """A server that runs, in the middle of a request of a renewal: the answer never comes."""
    silent = world.recorder().hangs()
    httpd.config.add(f"MDCertificateAuthority {silent.url}").managed(NAME)
    httpd.log.expects("MD0080", optional=True)
    httpd.start().wait(lambda: silent.requests, what="a request")
    return httpd


# All that a thread can block: not KILL and STOP, nor the two that the C library keeps for itself.
BLOCKED = set(range(1, 65)) - {9, 19, 32, 33}


@MPMS
def test_workers_take_no_signals(renewing: Httpd) -> None:
    found = [status for child in renewing.children() for status in _threads(child) if status["Name"].startswith("md-")]
    assert "md-renew" in {status["Name"] for status in found}
    for status in found:
        mask = int(status["SigBlk"], 16)
        assert {number for number in range(1, 65) if mask >> (number - 1) & 1} >= BLOCKED, status["Name"]


@MPMS
@pytest.mark.parametrize("how", ["stop", "stop_gracefully", "restart", "graceful"])
def test_the_end_of_a_child_in_the_middle_of_a_renewal_is_prompt(renewing: Httpd, how: str) -> None:
    """Processes that are left, and cores, are what every test is judged by."""
    getattr(renewing, how)()
    _assert_prompt(renewing)


@MPMS
@pytest.mark.pebble(va_sleep=5)
def test_a_stop_while_the_ca_validates_is_prompt_and_the_next_start_goes_on(httpd: Httpd, sandbox: Sandbox) -> None:
    order = sandbox.staging(NAME) / "order.json"
    httpd.config.managed(NAME)
    httpd.start().wait(order.exists, what="an order")
    httpd.stop()
    _assert_prompt(httpd)
    httpd.start().obtain(NAME)


@MPMS
def test_the_parent_talks_to_nobody(httpd: Httpd, pebble: Pebble, sandbox: Sandbox) -> None:
    out = sandbox.logs / "connects"
    httpd.prefix = ["strace", "-D", "-f", "-o", str(out), "-e", "trace=execve,connect"]
    httpd.config.managed(NAME)
    httpd.start()
    httpd.prefix = []
    httpd.obtain(NAME)
    assert httpd.parent
    calls = [line.split(maxsplit=1) for line in out.read_text().splitlines()]
    ports: dict[str, set[int]] = {}
    for pid, call in calls:
        # The resolver tries its sockets for `Listen` at no address.
        if (found := PEER.match(call)) and found[2] not in ("0.0.0.0", "::"):
            ports.setdefault(pid, set()).add(int(found[1]))
    # That the worker talks to the CA is seen.
    assert any(pebble.port in each for each in ports.values())
    # The process that was launched, which tries the configuration, and the daemon, which wakes its children at a restart.
    launched = next(pid for pid, call in calls if call.startswith("execve"))
    own = {httpd.config.http_port, httpd.config.https_port, httpd.config.admin_port}
    assert ports.get(launched, set()) | ports.get(str(httpd.parent.pid), set()) <= own


PEER = re.compile(r'connect\(.*AF_INET6?,.*port=htons\((\d+)\).*"([\d.:a-f]+)"')


def _assert_prompt(httpd: Httpd) -> None:
    """Checks that no process ran longer than 3 s after its end was requested, and no thread of the module longer than 2 s."""
    for number in ("AH00045", "AH00046", "AH00047", "MD0003"):
        assert httpd.log.count(number) == 0, number


def _threads(proc: Proc) -> list[dict[str, str]]:
    """Status of each thread of a process, from the kernel."""
    texts = [path.read_text() for path in Path(f"/proc/{proc.pid}/task").glob("*/status")]
    return [dict(re.findall(r"^(\w+):\s*(.*)$", text, re.M)) for text in texts]
