"""The check of test/coverage.toml."""
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
TEST = 'def test_renews():\n    pass\n'
RUST = 'log("AH10037");\n#[test]\nfn waits_once() {}\n'


@pytest.fixture
def check(tmp_path):
    """Checks a small tree whose coverage.toml has these lines."""
    def run(text, log=""):
        (tmp_path / "src").mkdir()
        (tmp_path / "test").mkdir()
        (tmp_path / "src/a.rs").write_text(RUST)
        (tmp_path / "test/test_a.py").write_text(TEST)
        (tmp_path / "src/log.rs").write_text(log)
        (tmp_path / "test/coverage.toml").write_text(text)
        done = subprocess.run([sys.executable, TOP / "test/tools/coverage.py", tmp_path], capture_output=True, text=True)
        return done.returncode, done.stdout.strip()
    return run


def test_accepts_tests_that_are_there(check):
    assert check('[pitfalls.acme]\n"a" = "test/test_a.py::test_renews[case]"\n"b" = ["src/a.rs::tests::waits_once"]\n"c" = ""\n'
                 '[messages]\nAH10037 = ""\n') == (0, "2 of 4 statements shown by a test, none due")


@pytest.mark.parametrize("test", ["test/test_a.py::test_renew", "test/test_b.py::test_renews", "src/a.rs::tests::waits", "test/test_a.py"])
def test_refuses_a_test_that_is_not_there(check, test):
    assert check(f'[pitfalls.acme]\n"a" = "{test}"\n[messages]\nAH10037 = ""\n') == (
        1, f'pitfalls.acme: "a" names a test that is not there: {test}')


def test_refuses_what_is_due(check):
    assert check('[pitfalls.acme]\n[messages]\nAH10037 = "due"\n') == (1, 'messages: no test shows "AH10037"')


def test_refuses_a_message_that_is_not_listed(check):
    assert check('[messages]\nAH10038 = ""\n') == (1, "src/a.rs:1: AH10037 is not in test/coverage.toml")


def test_refuses_a_message_of_our_own_that_no_test_knows(check):
    log = '    MD0001 Error "a"\n    MD0002 Error "b"\n    MD0003 Error "c"\n\n#[cfg(test)]\nmod tests {\n    // MD0002\n}\n'
    assert check('[messages]\nAH10037 = ""\nMD0001 = ""\n', log) == (1, "src/log.rs: MD0003 is in no test and not in test/coverage.toml")
