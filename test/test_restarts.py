"""A renewal goes on where it was, whatever happens to the server or to the child that works on it, and delays nobody else."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from harness import process
from harness.gate import Gate, Hold
from harness.httpd import RENEWER, Httpd
from harness.pebble import Pebble
from harness.sandbox import Sandbox
from harness.world import World

MPMS = ["event", "worker", "prefork"]
STEPS = [
    ("/order-plz", False),
    ("/order-plz", True),
    # The order is made and saved.
    ("/authZ/", False),
    # The challenge is set up.
    ("/chalZ/", False),
    # The CA validates.
    ("/chalZ/", True),
    ("/finalize-order/", False),
    ("/finalize-order/", True),
    ("/certZ/", False),
    ("/certZ/", True),
]
"""Where a renewal is caught: at a request, or where the CA did it and the answer gets lost."""
NAMES = [f"{letter}.example.org" for letter in "abcdefghij"]
ALWAYS_DUE = "MDRenewWindow 100d"


def _graceful(httpd: Httpd) -> None:
    httpd.graceful()


def _stop_and_start(httpd: Httpd) -> None:
    httpd.stop()
    httpd.start()


def _child_killed(httpd: Httpd) -> None:
    (renewer,) = httpd.renewing()
    renewer.signal(signal.SIGKILL)
    httpd.wait(lambda: not renewer.alive)


def _server_killed(httpd: Httpd) -> None:
    # The pid file is still there.
    httpd.log.expects("AH00098", optional=True)
    httpd.kill()
    httpd.start()


INTERRUPTIONS: dict[str, Callable[[Httpd], None]] = {
    "graceful": _graceful,
    "stop and start": _stop_and_start,
    "child killed": _child_killed,
    "server killed": _server_killed,
}


def _catch(gate: Gate) -> list[Hold]:
    return [gate.hold(path, answer) for path, answer in STEPS]


@pytest.mark.pebble(nonce_reject=0)
@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_a_registration_whose_answer_is_lost_is_no_second_account(
    httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World, interruption: str
) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}")
    for name in NAMES[:4]:
        httpd.config.managed(name)
    registration = gate.hold("/sign-me-up", answer=True)
    httpd.start().wait(lambda: registration.held, what="registration")
    INTERRUPTIONS[interruption](httpd)
    registration.release()
    httpd.obtain(*NAMES[:4])
    assert pebble.new_accounts == len(sandbox.account_ids()) == 1


@pytest.mark.pebble(nonce_reject=0, authz_reuse=0)
@pytest.mark.parametrize(
    ("mpm", "interruption"),
    [("event", each) for each in INTERRUPTIONS] + [(mpm, each) for mpm in MPMS[1:] for each in ("graceful", "child killed")],
)
def test_renewals_go_on_at_every_step(httpd: Httpd, pebble: Pebble, sandbox: Sandbox, world: World, interruption: str) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MDRenewWorkers 32", ALWAYS_DUE)
    for name in NAMES:
        httpd.config.managed(name)
    httpd.start().wait_staged(*NAMES)

    # A domain at each step; one passes all of them.
    holds = _catch(gate)
    httpd.graceful()
    old = {name: httpd.served(name, ca=pebble.root).leaf for name in NAMES}
    httpd.wait(lambda: all(hold.held for hold in holds), what="renewals at every step")
    INTERRUPTIONS[interruption](httpd)
    # A restart activates what was complete by then, so a name has its old certificate or its new one.
    handshakes = {name: httpd.served(name, ca=pebble.root) for name in NAMES}
    assert all(handshake.verified for handshake in handshakes.values())
    serving = {name: handshake.leaf for name, handshake in handshakes.items()}
    for hold in holds:
        hold.release()
    httpd.wait_staged(*NAMES)
    assert {name: httpd.served(name).leaf for name in NAMES} == serving
    # The only order made twice is the one whose answer was lost.
    # The domain that passes all steps is due again if a restart came after its last one.
    assert pebble.new_accounts == 1
    assert pebble.new_orders in (2 * len(NAMES) + 1, 2 * len(NAMES) + 2)
    assert [sandbox.job(name)["errors"] for name in NAMES] == [0] * len(NAMES)

    httpd.config.add("MDRenewWindow 33%")
    httpd.graceful()
    for name in NAMES:
        served = httpd.served(name, ca=pebble.root)
        assert served.verified
        assert served.leaf != old[name]
    assert len(sandbox.account_ids()) == 1


@pytest.mark.pebble(nonce_reject=0)
@pytest.mark.parametrize("mpm", MPMS)
def test_another_child_takes_over_when_the_one_that_renews_has_served_its_time(
    httpd: Httpd, pebble: Pebble, world: World, sandbox: Sandbox
) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MaxConnectionsPerChild 5")
    httpd.config.managed("a.example.org")
    holds = [gate.hold(path) for path in ("/authZ/", "/chalZ/", "/finalize-order/")]
    httpd.start()
    for hold in holds:
        httpd.wait(lambda hold=hold: hold.held, what=f"a renewal at {hold.path}")
        (renewer,) = httpd.renewing()
        while renewer.alive:
            assert httpd.get("http://a.example.org/").status == 200
        hold.release()
    # A question to the server would use up its children.
    httpd.wait(lambda: sandbox.job("a.example.org").get("finished"), what="the renewal")
    assert (pebble.new_accounts, pebble.new_orders) == (1, 1)
    assert sandbox.job("a.example.org")["errors"] == 0


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_renewals_survive_that_idle_children_go(httpd: Httpd, pebble: Pebble, world: World, mpm: str) -> None:
    gate = world.gate(pebble)
    httpd.config.add(f"MDCertificateAuthority {gate.directory}")
    if mpm == "prefork":
        httpd.config.add("StartServers 6", "MinSpareServers 1", "MaxSpareServers 2")
    else:
        httpd.config.add("ServerLimit 12", "StartServers 5", "ThreadsPerChild 4", "MaxRequestWorkers 32")
        httpd.config.add("MinSpareThreads 4", "MaxSpareThreads 12")
    for name in NAMES[:3]:
        httpd.config.managed(name)
    validation = gate.hold("/chalZ/")
    httpd.start().wait(lambda: validation.held, what="a challenge")
    httpd.wait(lambda: len(httpd.children()) <= 3, what="the end of idle children")
    validation.release()
    httpd.obtain(*NAMES[:3])
    assert pebble.new_accounts == 1


@pytest.mark.parametrize("end", ["stop", "graceful"])
def test_a_thread_that_makes_a_key_delays_no_end_and_is_no_warning(httpd: Httpd, end: str) -> None:
    name = NAMES[0]
    # OpenSSL is at work on that for many minutes. Without a TLS host no placeholder needs such a key.
    httpd.config.add("MDPrivateKeys rsa32768").md(name).http(name)
    # The key of the account is made before that.
    httpd.start().wait_log("MD0091")

    def worked() -> float:
        of_all = [thread for child in httpd.children() for thread in process.threads(child.pid)]
        return max((thread.worked for thread in of_all if thread.name == RENEWER), default=0)

    enough = worked() + 0.5
    httpd.wait(lambda: worked() > enough, what="a thread that makes a key")
    getattr(httpd, end)()
    (line,) = httpd.log.find("MD0003")
    assert line.level == "info" and "this child ends while 1 of its threads are at work" in line.text


@pytest.mark.parametrize("workers", [1, 8])
def test_a_ca_that_takes_its_time_delays_its_own_domains_only(httpd: Httpd, world: World, workers: int) -> None:
    # It sleeps up to that many seconds.
    slow = world.pebble(va_sleep=10**6)
    httpd.config.add(f"MDRenewWorkers {workers}")
    lines = [f"MDCertificateAuthority {slow.directory}", f"MDCACertificateFile {slow.trust}"]
    for name in ("slow.example.org", "slower.example.org"):
        httpd.config.md_set(name, *lines).http(name).https(name)
    for name in NAMES[:6]:
        httpd.config.managed(name)
    httpd.start().wait_staged(*NAMES[:6])
    assert slow.new_orders == 2
    for name in ("slow.example.org", "slower.example.org"):
        renewal = httpd.md_status(name)["renewal"]
        assert (renewal["finished"], renewal["errors"]) == (False, 0)


def test_a_ca_that_does_not_answer_takes_a_worker_and_no_more(httpd: Httpd, pebble: Pebble, world: World) -> None:
    gate = world.gate(world.pebble())
    orders = gate.hold("/order-plz", count=2)
    httpd.config.add("MDRenewWorkers 2")
    httpd.config.md_set("a.example.org", f"MDCertificateAuthority {gate.directory}").http("a.example.org").https("a.example.org")
    httpd.start().wait(lambda: orders.held, what="an order")
    for name in NAMES[1:5]:
        httpd.config.managed(name)
    httpd.graceful().wait_staged(*NAMES[1:5])
    assert not httpd.md_status("a.example.org")["renewal"]["finished"]
    orders.release()
    httpd.wait_staged("a.example.org")


@pytest.mark.pebble(nonce_reject=0)
def test_at_most_32_orders_are_open_at_a_ca_and_the_status_tells_the_progress(
    httpd: Httpd, pebble: Pebble, world: World
) -> None:
    gate, names = world.gate(pebble), [f"d{number}.example.org" for number in range(40)]
    httpd.config.add(f"MDCertificateAuthority {gate.directory}", "MDRenewWorkers 64", "MDPrivateKeys secp256r1")
    for name in names:
        httpd.config.managed(name)
    finalize = gate.hold("/finalize-order/", count=len(names))
    httpd.start().wait(lambda: finalize.held == 32, what="32 orders")
    # There are workers for more.
    begun = [name for name in names if "last-run" in httpd.md_status(name).get("renewal", {})]
    assert (len(begun), finalize.held, pebble.new_orders) == (32, 32, 32)
    finalize.release()
    httpd.wait_staged(*names)
    assert (pebble.new_accounts, pebble.new_orders) == (1, 40)
