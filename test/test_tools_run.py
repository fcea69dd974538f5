"""The counts that `make test` ends with."""
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "tools"))

import run  # noqa: E402
from run import Counts  # noqa: E402


@pytest.mark.parametrize("line, counts", [
    ("===== 3 passed in 0.12s =====", Counts(3, 0)),
    ("=== 1 failed, 12 passed, 2 errors in 63.10s (0:01:03) ===", Counts(12, 3)),
    ("=== 2 failed, 1 error in 1.00s ===", Counts(0, 3)),
    ("=== 12 passed, 1 warning in 1.00s ===", Counts(12, 0)),
    ("=== no tests ran in 0.01s ===", Counts()),
    ("=== test session starts ===", Counts()),
    ("=== short test summary info ===", Counts()),
])
def test_reads_pytest(line, counts):
    assert run.pytest_counts(line) == counts


@pytest.mark.parametrize("line, counts", [
    ("test result: ok. 41 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s", Counts(41, 0)),
    ("test result: FAILED. 40 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out", Counts(40, 1)),
    ("test model::tests::reads ... ok", Counts()),
])
def test_reads_cargo(line, counts):
    assert run.cargo_counts(line) == counts


def counts_after(*steps):
    """The sum when steps (exit code, counts or None, vital) run."""
    results = iter(steps)

    def execute(command, count):
        code, seen, _ = next(results)
        return code, seen or Counts()

    return run.run([("step", [], seen and run.cargo_counts, vital) for _, seen, vital in steps], execute)[0]


def test_a_check_counts_as_one():
    assert counts_after((0, None, False), (1, None, False), (0, None, False)) == Counts(2, 1)


def test_goes_on_after_a_failure_and_sums():
    assert counts_after((2, Counts(40, 1), False), (0, Counts(12, 0), False)) == Counts(52, 1)


def test_a_failure_without_a_failed_test_counts():
    assert counts_after((101, Counts(5, 0), False)) == Counts(5, 1)


def test_no_tests_at_all_is_a_failure():
    assert counts_after((0, Counts(), False)) == Counts(0, 1)


def test_nothing_runs_after_a_failed_build():
    assert counts_after((0, None, True), (2, None, True), (0, Counts(7, 0), False)) == Counts(0, 1)


def test_output_is_passed_on_and_counted(capfd):
    text = "hello\\ntest result: ok. 2 passed; 0 failed; 0 ignored"
    assert run.stream([sys.executable, "-c", f"print('{text}')"], run.cargo_counts) == (0, Counts(2, 0))
    assert capfd.readouterr().out.startswith("hello\n")


def test_the_last_line_is_the_counts(tmp_path):
    (tmp_path / "Makefile").write_text("deps build fmt:\n\t@true\nunittest:\n\t@echo 'test result: ok. 3 passed; 0 failed;'\n"
                                       "pytest:\n\t@echo '== 1 failed, 4 passed in 0.10s =='; false\n")
    done = subprocess.run([sys.executable, run.__file__, "fmt"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "8 passed, 1 failed"
