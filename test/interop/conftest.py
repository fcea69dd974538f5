"""Fixtures of the tests with ACME servers of others: one world for each server, in a network of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.authorities import AUTHORITIES
from harness.authority import Authority
from harness.httpd import Httpd
from harness.module import Missing
from harness.world import World


@pytest.fixture(params=AUTHORITIES, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[Authority]:
    """The kind of server, which this machine can run, and which offers what `@pytest.mark.needs` says."""
    found: type[Authority] = request.param
    for marker in request.node.iter_markers("needs"):
        (feature,) = marker.args
        if feature in found.lacks:
            pytest.skip(f"{found.name} does not offer {feature}: {found.lacks[feature]}")
    if reason := found.missing():
        pytest.skip(f"{found.name}: {reason}")
    return found


@pytest.fixture
def world(request: pytest.FixtureRequest, kind: type[Authority]) -> Iterator[World]:
    """A world where ports 53, 80 and 443 are free."""
    try:
        world = World(request.node.name.partition("[")[0].removeprefix("test_"), own_network=True)
    except Missing as missing:
        pytest.skip(str(missing))
    yield world
    world.close()
    if not world.keep:
        world.remove()


@pytest.fixture
def authority(world: World, kind: type[Authority]) -> Authority:
    """A running server."""
    return world.authority(kind)


@pytest.fixture
def httpd(world: World, authority: Authority, mpm: str) -> Httpd:
    """A server that is a client of `authority`, not started yet."""
    httpd = world.httpd(authority, mpm)
    httpd.config.defaults.append("MDPrivateKeys secp256r1")
    return httpd
