"""Fixtures: a world per test, judged right after the test."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from harness.dns import Dns
from harness.httpd import Httpd
from harness.module import Missing, Module
from harness.native import quick_rsa_keys
from harness.pebble import Pebble
from harness.pki import Pki
from harness.sandbox import Sandbox
from harness.world import World


@pytest.fixture(scope="session", autouse=True)
def _quick_rsa_keys() -> Iterator[None]:
    with quick_rsa_keys():
        yield


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """The test's own sandbox, ports and servers; `@pytest.mark.module("panicking")` chooses the module."""
    marker = request.node.get_closest_marker("module")
    module = Module.named(marker.args[0]) if marker else None
    world = World(request.node.name.partition("[")[0].removeprefix("test_"), module)
    yield world
    world.close()
    if not world.keep:
        world.remove()


@pytest.fixture
def mpm() -> str:
    """The MPM of `httpd`; tests choose by `@pytest.mark.parametrize("mpm", [...])`, the others take MD_MPM."""
    return os.environ.get("MD_MPM", "event")


@pytest.fixture
def pebble(world: World, request: pytest.FixtureRequest) -> Pebble:
    """A running private CA; settings by `@pytest.mark.pebble(nonce_reject=50)`."""
    marker = request.node.get_closest_marker("pebble")
    return world.pebble(**(marker.kwargs if marker else {}))


@pytest.fixture
def httpd(world: World, pebble: Pebble, mpm: str) -> Httpd:
    """A server that is a client of `pebble`, not started yet."""
    return world.httpd(pebble, mpm)


@pytest.fixture
def lone_httpd(world: World, mpm: str) -> Httpd:
    """A server without a CA, not started yet."""
    return world.httpd(mpm=mpm)


@pytest.fixture
def dns(world: World) -> Dns:
    return world.dns


@pytest.fixture
def sandbox(world: World) -> Sandbox:
    return world.sandbox


@pytest.fixture
def pki(world: World) -> Pki:
    return world.pki


@pytest.fixture
def module(world: World) -> Module:
    """The module under test."""
    return world.module


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Judge the world as a part of the test, so that complaints fail the test itself."""
    yield
    if world := _world(item):
        world.finish()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test keeps its sandbox and shows its logs."""
    report = yield
    world = _world(item)
    if report.failed and world:
        world.keep = True
        report.sections.append(("sandbox", f"kept: {world.sandbox.root}"))
        report.sections += [("error log", httpd.log.tail(200)) for httpd in world.servers]
    return report


def _world(item: pytest.Item) -> World | None:
    return getattr(item, "funcargs", {}).get("world")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    try:
        module = Module.under_test()
        terminalreporter.write_line(f"module under test: {module.name}, {module.path}")
    except Missing as missing:
        terminalreporter.write_line(f"module under test: {missing}")
