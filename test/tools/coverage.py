"""Checks test/coverage.toml: the list of the field's known bugs and of all log messages, each with the test that shows it.

A value is the test's id, or a list of them: `test/test_x.py::test_name` or `src/x/mod.rs::tests::name`. An empty value
stands for what the module does not do, or what tests show in part only; `due` for what it does and no test shows, which
fails. Fails too when a named test is not in the tree, when the sources use a number of the C module's that is not in the list,
and when one of our own numbers (MDnnnn) is neither in the list nor in any test.
"""
import re
import sys
import tomllib
from pathlib import Path


def entries(table):
    """(section, statement, list of tests) of the whole file; a section may hold sections."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{section}" if section else name, statement, tests) for section, statement, tests in entries(value))
        else:
            yield "", name, [value] if isinstance(value, str) else value


def exists(root, test):
    """Whether a test of that id is in the tree; a parameter in brackets is not looked at."""
    file, _, name = test.partition("::")
    word = "def" if file.endswith(".py") else "fn"
    name = name.split("[")[0].split("::")[-1]
    path = root / file
    return bool(name) and path.is_file() and re.search(rf"\b{word} {re.escape(name)}\b", path.read_text()) is not None


def complaints(root, table):
    """What is wrong, in one line each."""
    for section, statement, tests in entries(table):
        for test in filter(None, tests):
            if test == "due":
                yield f"{section}: no test shows \"{statement}\""
            elif not exists(root, test):
                yield f"{section}: \"{statement}\" names a test that is not there: {test}"
    listed = {statement for section, statement, _ in entries(table) if section == "messages"}
    for path in sorted((root / "src").rglob("*.rs")):
        for line, text in enumerate(path.read_text().splitlines(), 1):
            for number in sorted(set(re.findall(r"\bAH\d{5}\b", text)) - listed):
                yield f"{path.relative_to(root)}:{line}: {number} is not in test/coverage.toml"
    shown = listed | set(re.findall(r"\bMD\d{4}\b", tests_of(root)))
    for path in (root / "src").glob("log.rs"):
        for number in re.findall(r"^    (MD\d{4}) ", path.read_text(), re.M):
            if number not in shown:
                yield f"{path.relative_to(root)}: {number} is in no test and not in test/coverage.toml"


def tests_of(root):
    """The text of all tests: those of pytest, files of Rust called tests, and the modules at the end of others."""
    text = "".join(path.read_text() for path in sorted((root / "test").glob("test_*.py")))
    for path in sorted((root / "src").rglob("*.rs")):
        whole = "tests" in (path.stem, *(parent.name for parent in path.parents))
        text += path.read_text() if whole else path.read_text().partition("#[cfg(test)]\nmod tests {")[2]
    return text


def main(args):
    """Checks the tree in args, or the one here."""
    root = Path(args[0] if args else ".").resolve()
    table = tomllib.loads((root / "test/coverage.toml").read_text())
    found = list(complaints(root, table))
    shown = [any(tests) for _, _, tests in entries(table)]
    print("\n".join(found) if found else f"{sum(shown)} of {len(shown)} statements shown by a test, none due")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
