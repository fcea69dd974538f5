"""Runs every step of `make test` in order, goes on after failures, and ends with the counts as its last line.

The arguments are the checks of `make check`; each counts as one. What makes the rest pointless ends the run.
"""
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass

CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed;")
PYTEST = re.compile(r"^=+ (?:.*\d+ (?:passed|failed|errors?)\b.*|no tests ran) in [\d.]+s.*=+$")


@dataclass
class Counts:
    """Tests that passed and failed."""

    passed: int = 0
    failed: int = 0

    def __add__(self, other):
        return Counts(self.passed + other.passed, self.failed + other.failed)


def cargo_counts(line):
    """The counts in one line of `cargo test`; it prints one such line per test program."""
    found = CARGO.match(line)
    return Counts(int(found[1]), int(found[2])) if found else Counts()


def pytest_counts(line):
    """The counts in pytest's closing line; errors in fixtures are failures."""
    if not PYTEST.match(line):
        return Counts()
    number = {word.rstrip("s"): int(n) for n, word in re.findall(r"(\d+) (\w+)", line)}
    return Counts(number.get("passed", 0), number.get("failed", 0) + number.get("error", 0))


def stream(command, count):
    """Runs a command, prints its output as it comes, and returns its exit code and the sum of `count` over the lines."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    # What is optimised takes minutes to build, and has no assertions of debug builds.
    env |= {"CARGO_TERM_COLOR": "never", "PY_COLORS": "0", "PROFILE": "quick"}
    total = Counts()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            total += count(line.rstrip())
    return process.returncode, total


def judge(code, counts, counted):
    """What a step adds to the sum: a failure without a failed test is one, and so are tests that are not there."""
    if counted and counts == Counts():
        return Counts(failed=1)
    if code != 0 and counts.failed == 0:
        return counts + Counts(failed=1)
    if code == 0 and not counted:
        return Counts(passed=1)
    return counts


def run(steps, execute=stream):
    """Runs steps (name, command, how to count or None, vital?) and returns counts and one line per step."""
    total, report = Counts(), []
    for name, command, count, vital in steps:
        print(f"== {name}", flush=True)
        start = time.monotonic()
        code, seen = execute(command, count or (lambda line: Counts()))
        result = judge(code, seen, count is not None)
        report.append(f"{name:10} {time.monotonic() - start:6.1f} s  {'ok' if code == 0 and result.failed == 0 else 'FAILED'}")
        if vital:
            result = Counts(failed=result.failed)
        total += result
        if vital and code != 0:
            break
    return total, report


def main(checks):
    """Prints the steps' durations and the counts; fails when a test failed or none ran."""
    def make(name, count=None, vital=False):
        return name, ["make", "--no-print-directory", name], count, vital

    steps = [make("deps", vital=True), make("build", vital=True), *map(make, checks)]
    steps += [make("unittest", cargo_counts), make("pytest", pytest_counts)]
    total, report = run(steps)
    print("\n".join(["== summary", *report]))
    print(f"{total.passed} passed, {total.failed} failed")
    return 0 if total.failed == 0 and total.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
