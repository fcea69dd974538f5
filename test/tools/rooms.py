"""Draws the sources as rooms: how much each holds, which files import each other in a circle, which import runs upwards.

A room is a row of the table in layers.py. An import is followed through `pub use` to the file that defines its name, so a
name that another room passes on counts for the room that it comes from. Tests are left out. Run it at the top of the tree,
or give it another tree; `-v` lists each room with its lines of tests, and the imports between files of a circle.
"""
import re
import sys
from pathlib import Path

import layers

MOST_PER_CENT = 12
LARGEST_CIRCLE = 4


class Tree:
    """All files of src, and the files that each imports."""

    def __init__(self, root):
        paths = sorted((root / "src").rglob("*.rs"))
        self.files = {tuple(file.module): file for file in (layers.File(root, path) for path in paths)}
        self.tests = {module for module in self.files if self.is_test(module)}
        self.lines = {file.name: len((root / file.name).read_text().splitlines()) for file in self.files.values()}
        self.imports = {file.name: self.imported(file) for module, file in self.files.items() if module not in self.tests}

    def is_test(self, module):
        """Whether the file of a module is compiled for tests only."""
        parents = [(self.files.get(module[:length]), module[length]) for length in range(len(module))]
        return any(parent and parent.children.get(name) for parent, name in parents)

    def imported(self, file):
        """Files that the file imports outside tests: name -> the line of the first import."""
        found = {}
        for line, path, in_test in file.paths:
            if in_test or path[0] != "crate" or (line, path) in file.passed_on:
                continue
            target = self.defining(path[1:])
            if target and target is not file and tuple(target.module) not in self.tests:
                found.setdefault(target.name, line)
        return found

    def defining(self, path, seen=()):
        """The file that defines the name at the end of the path; a `use` on the way is followed."""
        for length in range(len(path), -1, -1):
            file = self.files.get(tuple(path[:length]))
            if file is None:
                continue
            rest = path[length:]
            onwards = file.names.get(rest[0]) if rest else None
            if onwards and onwards[0] == "crate" and (file.name, rest[0]) not in seen:
                return self.defining([*onwards[1:], *rest[1:]], (*seen, (file.name, rest[0])))
            return file if rest or length else None
        return None

    def tested(self, root):
        """(room, lines of code, lines of its tests), the largest first."""
        by_room = {}
        for module, file in self.files.items():
            text = (root / file.name).read_text()
            code = "" if module in self.tests else re.split(r"^#\[cfg\(test\)\]\nmod \w+ \{", text, maxsplit=1, flags=re.M)[0]
            lines, of_code = self.lines[file.name], len(code.splitlines())
            before = by_room.get(file.layer, (0, 0))
            by_room[file.layer] = before[0] + of_code, before[1] + lines - of_code
        return sorted(((room, *counts) for room, counts in by_room.items()), key=lambda row: -row[1])

    def circles(self):
        """Sets of files that all import each other, directly or through others; the largest first (Tarjan)."""
        order, low, stack, found = {}, {}, [], []

        def visit(node):
            order[node] = low[node] = len(order)
            stack.append(node)
            for target in self.imports[node]:
                if target not in order:
                    visit(target)
                if target in stack:
                    low[node] = min(low[node], low[target])
            if low[node] == order[node]:
                at = stack.index(node)
                found.append(sorted(stack[at:]))
                del stack[at:]

        for node in self.imports:
            if node not in order:
                visit(node)
        return sorted((circle for circle in found if len(circle) > 1), key=lambda circle: (-len(circle), circle))

    def upwards(self):
        """Imports of a room by one that must not use it, as `file:line: words`."""
        by_name = {file.name: file for file in self.files.values()}
        for name, targets in self.imports.items():
            room = by_name[name].layer
            for target, line in targets.items():
                other = by_name[target].layer
                if other != room and room != "lib" and other not in layers.MAY_USE.get(room, ()):
                    yield f"{name}:{line}: {room} must not use {other}: the name comes from {target}"

    def shares(self):
        """(room, lines, per cent of all lines), the largest first."""
        total, by_room = sum(self.lines.values()), {}
        for file in self.files.values():
            by_room[file.layer] = by_room.get(file.layer, 0) + self.lines[file.name]
        return sorted(((room, lines, 100 * lines / total) for room, lines in by_room.items()), key=lambda row: -row[1])


def folder(name):
    """The folder that a file, or the files below it, lives in: `src/x/mod.rs` and `src/x/y.rs` are of `src/x`."""
    return "/".join(name.removesuffix(".rs").split("/")[:2])


def check(root):
    """(figures, complaints) about a tree."""
    tree = Tree(root)
    shares, circles = tree.shares(), tree.circles()
    complaints = list(tree.upwards())
    complaints += [f"src/{room}: holds {share:.1f} % of the lines, more than {MOST_PER_CENT} %" for room, _, share in shares
                   if share > MOST_PER_CENT]
    for circle in circles:
        if len(circle) > LARGEST_CIRCLE or len({folder(name) for name in circle}) > 1:
            complaints.append(f"{len(circle)} files import each other in a circle: {' '.join(circle)}")
    figures = [f"{len(shares)} rooms, {sum(lines for _, lines, _ in shares)} lines; the largest: "
               + ", ".join(f"{room} {share:.1f} %" for room, _, share in shares[:6]),
               f"{len(circles)} circles of files; the largest has {len(circles[0]) if circles else 0}"]
    return figures, complaints, tree


def main(args):
    """Checks the tree in args, or the one here."""
    root = Path(next((arg for arg in args if arg != "-v"), ".")).resolve()
    figures, complaints, tree = check(root)
    print("\n".join([*figures, *complaints]))
    if "-v" in args:
        for room, code, tests in tree.tested(root):
            share = f"{100 * tests // code:5} per 100" if code else ""
            print(f"{room:12}{code:7} lines{tests:7} of tests{share}")
        for circle in tree.circles():
            print(f"circle of {len(circle)}:")
            for name in circle:
                print(f"  {name} -> {' '.join(target for target in tree.imports[name] if target in circle)}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
