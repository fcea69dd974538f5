"""The harness: comparison with the C module."""

from __future__ import annotations

import itertools

import pytest

from harness.oracle import Oracle, compare, flat, neutral
from harness.world import World

SAME = ("system", "system")


def test_oracle_finds_two_runs_of_one_module_equal() -> None:
    def case(world: World) -> dict[str, object]:
        httpd = world.httpd(world.pebble())
        httpd.config.managed("a.example.org")
        httpd.start().obtain("a.example.org")
        return {"status": httpd.md_status("a.example.org"), "md": world.sandbox.md_json("a.example.org")}

    result = Oracle(sides=SAME).both(case)
    assert result["status"]["cert"]["rsa"]["serial"] == "<id>"
    assert result["status"]["renew-at"] == "<time>"
    assert result["status"]["ca"]["url"] == "https://localhost:<ca>/dir"


def test_oracle_fails_for_a_difference_and_names_it() -> None:
    numbers = itertools.count()
    with pytest.raises(AssertionError, match="answer.1: system 0, system 1"):
        Oracle(sides=SAME).both(lambda world: {"answer": [7, next(numbers)]})


def test_oracle_compares_by_table() -> None:
    compare({"a": 1, "b": [{"c": 2}]}, {"a": 1, "b": [{"c": 3}]}, {"b.*.c": "known"})
    with pytest.raises(AssertionError, match=r"b\.0\.c: ours 2, system \(absent\)"):
        compare({"a": 1, "b": [{"c": 2}]}, {"a": 1, "b": [{}]}, {"b.0": "known"})
    with pytest.raises(AssertionError, match="a: in the table of differences, but the same"):
        compare({"a": 1}, {"a": 1}, {"a": "known"})
    with pytest.raises(AssertionError, match=r"\(order\)"):
        compare({"a": 1, "b": 2}, {"b": 2, "a": 1}, {})
    compare({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"(order)": "known"})


def test_oracle_replaces_what_is_by_chance_only(world: World) -> None:
    table = {
        "Mon, 23 Nov 2026 02:12:02 GMT": "<time>",
        "2026-11-23T03:12:02Z": "<time>",
        f"{world.sandbox.root}/md/x": "<sandbox>/md/x",
        f"http:{world.http_port}": "http:<http>",
        "0A1B2C3D4E5F60718293": "<id>",
        "https://localhost/authZ/L1mnJAkFvKrmLCVbqdrSIA93": "https://localhost/authZ/<id>",
        "Pebble Intermediate CA 2272e7": "Pebble Intermediate CA <id>",
        "a.example.org": "a.example.org",
        "urn:ietf:params:acme:error:rateLimited": "urn:ietf:params:acme:error:rateLimited",
        "Waiting for finalized order to become valid": "Waiting for finalized order to become valid",
    }
    assert neutral(list(table), world) == list(table.values())
    assert neutral({"port": world.http_port, "count": 3, "on": True}, world) == {"port": "<http>", "count": 3, "on": True}


def test_oracle_flattens_to_paths() -> None:
    assert flat({"a": {"b": [1, {"c": 2}]}, "d": [], "e": {}}) == {"a.b.0": 1, "a.b.1.c": 2, "d": [], "e": {}}
