"""Runs every step of `make test`, goes on after failures, and ends with the counts as its last line.

The arguments are the checks of `make check`; each counts as one. What makes the rest pointless ends the run. Tests of a server wait
most of the time, so compilers and lints work beside them.
"""
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

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


@dataclass
class Step:
    """A command, how its tests are counted, and whether the rest is pointless without it."""

    name: str
    command: list
    count: Callable | None = None
    vital: bool = False
    result: Counts | None = field(default=None, init=False)
    summary: str = field(default="", init=False)

    @classmethod
    def make(cls, name, *also, **how):
        return cls(name, ["make", "--no-print-directory", name, *also], **how)


class Terminal:
    """The output of steps that run side by side: one of them as it comes, each of the others whole when it ends."""

    def __init__(self):
        self._lock = threading.Lock()
        self._streams = None

    def begin(self, step):
        """From now on the output of this step is shown as it comes."""
        with self._lock:
            self._streams = step.name
            print(f"== {step.name}", flush=True)

    def line(self, text):
        with self._lock:
            print(text, end="", flush=True)

    def end(self):
        with self._lock:
            self._streams = None

    def block(self, step, lines):
        with self._lock:
            again = f"== {self._streams} goes on\n" if self._streams else ""
            print(f"== {step.name}\n{''.join(lines)}{again}", end="", flush=True)


def stream(command, count, show):
    """Runs a command, shows its output as it comes, and returns its exit code and the sum of `count` over the lines."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    # What is optimised takes minutes to build, and has no assertions of debug builds.
    env |= {"CARGO_TERM_COLOR": "never", "PY_COLORS": "0", "PROFILE": "quick"}
    total = Counts()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        for line in process.stdout:
            show(line)
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


def run_lane(steps, terminal, first, execute):
    """Runs steps one after the other, until a vital one fails; those of the first lane are shown as they run."""
    for step in steps:
        start, lines = time.monotonic(), []
        if first:
            terminal.begin(step)
        # The servers of tests have time limits, compilers beside them do not.
        command = step.command if first else ["nice", *step.command]
        code, seen = execute(command, step.count or (lambda line: Counts()), terminal.line if first else lines.append)
        if first:
            terminal.end()
        else:
            terminal.block(step, lines)
        step.result = judge(code, seen, step.count is not None)
        ok = code == 0 and step.result.failed == 0
        step.summary = f"{step.name:10} {time.monotonic() - start:6.1f} s  {'ok' if ok else 'FAILED'}"
        if step.vital:
            step.result = Counts(failed=step.result.failed)
            if not ok:
                return


def run(stages, execute=stream):
    """Runs stages one after the other, and the lanes of a stage side by side; returns counts and one line per step."""
    terminal, done = Terminal(), []
    for lanes in stages:
        with ThreadPoolExecutor(len(lanes)) as pool:
            for ended in [pool.submit(run_lane, steps, terminal, steps is lanes[0], execute) for steps in lanes]:
                ended.result()
        steps = [step for lane in lanes for step in lane]
        done += [step for step in steps if step.result]
        if any(step.vital and (step.result is None or step.result.failed) for step in steps):
            break
    return sum((step.result for step in done), Counts()), [step.summary for step in done]


def main(checks):
    """Prints the steps' durations and the counts; fails when a test failed or none ran."""
    # The archives of all features have one name: a check that asks make for the module must not run beside pytest, which does so too.
    of_module = [Step.make(name) for name in checks if name == "symbols"]
    of_sources = [Step.make(name) for name in checks if name != "symbols"]
    total, report = run([
        [[Step.make("build-deps", vital=True)]],
        [[Step.make("build", "build/mod_md_panic.so", vital=True), *of_module], [Step.make("test-deps", vital=True)]],
        [[Step.make("pytest", count=pytest_counts)], [*of_sources, Step.make("unittest", count=cargo_counts)]],
    ])
    print("\n".join(["== summary", *report]))
    print(f"{total.passed} passed, {total.failed} failed")
    return 0 if total.failed == 0 and total.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
