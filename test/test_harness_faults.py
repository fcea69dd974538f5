"""The harness: other clocks and crashes at chosen calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from harness.crash import Fault
from harness.httpd import Httpd
from harness.sandbox import Sandbox
from harness.world import World


def _ahead(httpd: Httpd) -> timedelta:
    date = parsedate_to_datetime(httpd.admin("/md-status").headers["Date"])
    return date - datetime.now(UTC)


def test_clock_shifts_a_server_also_while_it_runs(world: World) -> None:
    httpd = world.httpd()
    clock = world.clock(httpd).shift(days=60)
    httpd.start()
    assert abs(_ahead(httpd) - timedelta(days=60)) < timedelta(minutes=5)
    clock.shift(days=-1)
    httpd.wait(lambda: abs(_ahead(httpd) + timedelta(days=1)) < timedelta(minutes=5))
    httpd.graceful()
    assert abs(_ahead(httpd) + timedelta(days=1)) < timedelta(minutes=5)


def test_crash_kills_a_start_at_the_nth_rename(world: World, sandbox: Sandbox) -> None:
    httpd = world.httpd()
    httpd.config.md("a.example.org")
    httpd.log.expects("AH10045")
    crash = world.crash(httpd)
    renames = crash.calls_at_start("rename")
    nth = 1 + next(number for number, call in enumerate(renames) if "httpd.json" in call)

    sandbox.remove_store()
    assert not crash.start(Fault("rename", nth))
    assert crash.hits == 1
    assert not (sandbox.store / "httpd.json").exists()
    httpd.start()
    assert (sandbox.store / "httpd.json").exists()


def test_crash_fails_calls_for_one_file(world: World, sandbox: Sandbox) -> None:
    httpd = world.httpd()
    httpd.config.http("a.example.org").http("b.example.org")
    httpd.log.expects("AH00132")
    crash = world.crash(httpd)
    crash.start(Fault("%stat,open,openat", error="EACCES", path=sandbox.docs / "a.example.org" / "index.html"))
    assert httpd.get("http://a.example.org/").status != 200
    assert httpd.get("http://b.example.org/").status == 200
    assert crash.hits >= 1


def test_crash_kills_running_children_at_their_first_rename(world: World) -> None:
    httpd = world.httpd(world.pebble())
    httpd.config.managed("a.example.org")
    # Renewals that fail and are repeated leave time to attach.
    httpd.config.add("MDCertificateAuthority https://localhost:1/dir")
    httpd.log.expects("https://localhost:1/dir", "AH10056", optional=True)
    httpd.start()
    before = httpd.children()
    crash = world.crash(httpd).attach(Fault("rename"))
    httpd.wait(lambda: crash.hits and not all(proc.alive for proc in before))
