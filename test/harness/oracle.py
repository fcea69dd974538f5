"""Runs a case with our module and with the C module and compares what it returns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from .module import Module
from .world import World

Case = Callable[[World], Any]

_REPLACEMENTS = [
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"), "<time>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?"), "<time>"),
    (re.compile(r"\b(my-account|my-order|authZ|chalZ|certZ|finalize-order|list-orderz)/[\w-]+"), r"\1/<id>"),
    (re.compile(r"\bPebble (Root|Intermediate) CA [0-9a-f]+"), r"Pebble \1 CA <id>"),
    # Serial numbers, fingerprints, ARI ids, tokens.
    (re.compile(r"(?<![\w./-])(?=[\w-]*[\dA-Z])[\w-]{27,}\.[\w-]{10,}"), "<id>"),
    (re.compile(r"\b[0-9A-Fa-f]{14,}\b"), "<id>"),
    (re.compile(r"\b(?=\w*\d)[\w-]{40,}"), "<id>"),
    (re.compile(r"\[pid \d+(:tid \d+)?\]"), "[pid]"),
]


class Oracle:
    """Compares two sides. `sides` is for tests of the oracle itself."""

    def __init__(self, name: str = "oracle", sides: tuple[str, str] = ("ours", "system")) -> None:
        self.name, self.sides = name, sides

    def both(self, case: Case, differences: Mapping[str, str] | None = None) -> Any:
        """Run the case on both sides and fail where the results differ; returns the neutral result of ours.

        A case gets a world and returns anything of dicts, lists and scalars. Times, ids, paths and ports are
        replaced. `differences` maps paths of the result (`renewal.log.entries.*.type`, `*` matches anything) to the
        reason why they differ; an entry that does not differ any more is an error too.
        """
        mine, reference = (self._run(side, case) for side in self.sides)
        compare(mine, reference, differences or {}, self.sides)
        return mine

    def _run(self, side: str, case: Case) -> Any:
        world = World(f"{self.name}-{side}", Module.named(side))
        try:
            result = neutral(case(world), world)
            world.finish()
        except Exception as failure:
            world.keep = True
            failure.add_note(f"in the case's run with the module `{side}`, sandbox {world.sandbox.root}")
            raise
        finally:
            world.close()
            if not world.keep:
                world.remove()
        return result


def compare(mine: Any, reference: Any, differences: Mapping[str, str], sides: tuple[str, str] = ("ours", "system")) -> None:
    """Fail with a list of all paths where the results differ without being in the table."""
    left, right = flat(mine), flat(reference)
    paths = list(dict.fromkeys([*left, *right]))
    different = {path for path in paths if left.get(path, _ABSENT) != right.get(path, _ABSENT)}
    common = [path for path in left if path in right]
    if common != [path for path in right if path in left]:
        different.add("(order)")
    found = [
        f"{path}: {sides[0]} {left.get(path, _ABSENT)!r}, {sides[1]} {right.get(path, _ABSENT)!r}"
        for path in [*paths, "(order)"]
        if path in different and not any(fnmatchcase(path, known) for known in differences)
    ]
    found += [
        f"{known}: in the table of differences, but the same"
        for known in differences
        if not any(fnmatchcase(path, known) for path in different)
    ]
    if found:
        raise AssertionError("the two sides differ:\n" + "\n".join(found))


def neutral(value: Any, world: World) -> Any:
    """The value without what is by chance: times, ids, paths, ports."""
    ports = _ports(world)

    def text(line: str) -> str:
        line = line.replace(str(world.sandbox.root), "<sandbox>")
        for port, name in ports.items():
            line = re.sub(rf"\b{port}\b", name, line)
        for pattern, replacement in _REPLACEMENTS:
            line = pattern.sub(replacement, line)
        return line

    def walk(part: Any) -> Any:
        if isinstance(part, dict):
            return {text(str(key)): walk(each) for key, each in part.items()}
        if isinstance(part, (list, tuple)):
            return [walk(each) for each in part]
        if isinstance(part, bool) or not isinstance(part, (int, str)):
            return part
        return text(part) if isinstance(part, str) else ports.get(part, part)

    return walk(value)


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Leaves by their paths; an empty container is a leaf."""
    if isinstance(value, dict) and value:
        parts = value.items()
    elif isinstance(value, list) and value:
        parts = enumerate(value)  # type: ignore[assignment]
    else:
        return {path: value}
    return {sub: leaf for key, each in parts for sub, leaf in flat(each, f"{path}.{key}" if path else str(key)).items()}


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


_ABSENT = _Absent()


def _ports(world: World) -> dict[int, str]:
    names = {world.http_port: "<http>", world.https_port: "<https>"}
    for pebble in world.pebbles:
        names |= {pebble.port: "<ca>", pebble.management_port: "<ca-management>"}
    return names | {httpd.config.admin_port: "<admin>" for httpd in world.servers}
