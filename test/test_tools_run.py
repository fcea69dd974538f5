"""The counts that `make test` ends with."""
import subprocess
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "tools"))

import run  # noqa: E402
from run import Counts, Step  # noqa: E402


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


def execute(command, count, show):
    """Stands for a command that says how it ends: (exit code, counts)."""
    show(f"{command}\n")
    code, counts = command[-2:]
    return code, counts or Counts()


def step(code, counts=None, vital=False):
    return Step("step", [code, counts], counts and run.cargo_counts, vital)


def counts_after(*lanes):
    """The sum when these steps ran, in lanes side by side."""
    return run.run([[list(lane) for lane in lanes]], execute)[0]


def test_a_check_counts_as_one():
    assert counts_after([step(0), step(1), step(0)]) == Counts(2, 1)


def test_goes_on_after_a_failure_and_sums():
    assert counts_after([step(2, Counts(40, 1)), step(0, Counts(12, 0))], [step(0, Counts(3, 0))]) == Counts(55, 1)


def test_a_failure_without_a_failed_test_counts():
    assert counts_after([step(101, Counts(5, 0))]) == Counts(5, 1)


def test_no_tests_at_all_is_a_failure():
    assert counts_after([step(0, Counts())]) == Counts(0, 1)


@pytest.mark.parametrize("lanes", [[[step(2, vital=True)], [step(0, vital=True)]], [[step(0, vital=True)], [step(2, vital=True)]]])
def test_nothing_runs_after_a_failed_build(lanes):
    assert run.run([lanes, [[step(0, Counts(7, 0))]]], execute)[0] == Counts(0, 1)


def test_output_is_passed_on_and_counted():
    text, lines = "hello\\ntest result: ok. 2 passed; 0 failed; 0 ignored", []
    assert run.stream([sys.executable, "-c", f"print('{text}')"], run.cargo_counts, lines.append) == (0, Counts(2, 0))
    assert lines[0] == "hello\n"


def test_the_output_of_a_step_is_in_one_piece_beside_one_that_is_shown_as_it_comes(capfd):
    ended = threading.Event()

    def talks(command, count, show):
        show(f"{command} begins\n")
        assert command != ["streams"] or ended.wait(60)
        show(f"{command} ends\n")
        return 0, Counts(1, 0)

    class Beside(list):
        """Steps, of which the last is followed by the end of the other lane."""

        def __iter__(self):
            yield from super().__iter__()
            ended.set()

    run.run([[[Step("pytest", ["streams"])], Beside([Step("clippy", ["beside"])])]], talks)
    shown = capfd.readouterr().out.splitlines()
    block = shown.index("== clippy")
    assert shown[block:block + 4] == ["== clippy", "['nice', 'beside'] begins", "['nice', 'beside'] ends", "== pytest goes on"]
    assert [line for line in shown if "streams" in line] == ["['streams'] begins", "['streams'] ends"]


def test_the_last_line_is_the_counts(tmp_path):
    (tmp_path / "Makefile").write_text("build-deps test-deps build build/mod_md_panic.so fmt:\n\t@true\n"
                                       "unittest:\n\t@echo 'test result: ok. 3 passed; 0 failed;'\n"
                                       "pytest:\n\t@echo '== 1 failed, 4 passed in 0.10s =='; false\n")
    done = subprocess.run([sys.executable, run.__file__, "fmt"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "8 passed, 1 failed"
