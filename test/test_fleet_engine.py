"""The meeting point of a fleet on a real Redis or Valkey: `a2md fleet`."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest

from harness.a2md import Done, a2md
from harness.engine import Engine
from harness.pki import Pki
from harness.sandbox import Sandbox
from harness.world import World

pytestmark = pytest.mark.module("ours")
USER = "user md on >open-sesame ~{md:*}:* &{md:*}:* +@all -@dangerous +info"


def _fleet(*words: str | Path) -> Done:
    done = a2md("fleet", *words)
    return Done(done.returncode, done.stdout, done.stderr)


def _check(engine: Engine, *words: str | Path) -> Done:
    return _fleet("check", engine.url, *words)


def _login(sandbox: Sandbox, password: str = "open-sesame") -> Path:
    return sandbox.write("engine.auth", f"md\n{password}\n", 0o600)


def test_a_real_engine_keeps_the_contract(world: World) -> None:
    engine = world.engine("appendonly yes", "appendfsync everysec")
    done = _check(engine, "--suite")
    assert (done.code, done.err) == (0, ""), done
    first, *_, last = done.out.splitlines()
    assert first.startswith(f"{engine.url}0 is ") and last == "the engine keeps the contract: ok"


def test_tls_and_a_user_with_the_least_rights_are_enough(world: World, pki: Pki, sandbox: Sandbox) -> None:
    ca = pki.ca("engine")
    engine = world.engine(USER, "user default off", tls=ca.leaf("localhost"))
    roots = sandbox.write("engine-roots.pem", ca.certificate.pem)
    done = _check(engine, "-l", _login(sandbox), "-R", roots, "--suite", "shop")
    assert (done.code, done.err) == (0, ""), done

    # Nobody else is trusted, and nobody else gets in; the password is not told.
    for words, phrase in (
        (["-l", _login(sandbox)], "certificate"),
        (["-l", _login(sandbox, "wrong-password"), "-R", roots], "WRONGPASS"),
        (["-R", roots], "NOAUTH"),
    ):
        done = _check(engine, *words)
        assert done.code == 1 and phrase in done.err and "password " not in done.err.replace("username-password", ""), done
        assert "sesame" not in done.err and "wrong-password" not in done.err


def test_what_is_wrong_with_an_engine_is_told(world: World) -> None:
    engine = world.engine("maxmemory 100mb", "maxmemory-policy allkeys-lru")
    done = _check(engine)
    assert done.code == 0
    assert "maxmemory-policy is allkeys-lru" in done.out and "no append-only file" in done.out


def test_an_engine_that_does_not_answer_is_given_up_in_time(world: World) -> None:
    engine = world.engine()
    engine.freeze()
    begun = time.monotonic()
    done = _check(engine)
    engine.thaw()
    assert done.code == 1 and "the engine sends no answer" in done.err, done
    assert time.monotonic() - begun < 30
    engine.stop()
    done = _check(engine)
    assert done.code == 1 and f"no connection to localhost:{engine.port}" in done.err, done


def test_keys_are_made_and_checked(world: World, sandbox: Sandbox) -> None:
    done = _fleet("keygen")
    assert done.code == 0 and len(base64.b64decode(done.out)) == 32
    engine = world.engine()
    good = sandbox.write("fleet.key", f"# the key of the fleet\n{done.out}", 0o600)
    assert _check(engine, "-k", good).code == 0
    bad = sandbox.write("bad.key", "secret\n", 0o600)
    done = _check(engine, "-k", bad)
    assert done.code == 1 and f"{bad}: line 1 is not 32 bytes in base64" in done.err


def test_mistakes_in_the_address_are_named_without_the_password() -> None:
    for url, phrase in (
        ("redis://user:open-sesame@cache.example.net/", "MDFleetAuthFile"),
        ("http://cache.example.net/", "begins with redis://"),
    ):
        done = _fleet("check", url)
        assert done.code == 1 and phrase in done.err and "sesame" not in done.err, done
