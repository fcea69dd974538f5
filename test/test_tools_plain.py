"""The check of plain sources counts what it is there to count, and nothing else."""
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
LONG = "fn long() {\n" + "    step();\n" * 59 + "}\n"


@pytest.fixture
def check(tmp_path):
    """Runs the check over a tree of one file, and returns its exit code and lines."""
    def run(text, name="src/a.rs"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        done = subprocess.run([sys.executable, TOP / "test/tools/plain.py", "-v", tmp_path], capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines()
    return run


@pytest.mark.parametrize("text, hidden, all_of_them", [
    ("/// Its name.\nfn f() {}", 1, 1),
    ("//! What is here.\n\n/// Reads a file.\n/// It may be missing.\nfn f() {}", 1, 2),
    ("/// The same, later.\nfn f() {}\n    /// The store.\n    s: Store,", 1, 2),
    ("/// Items.\nfn f() {}\n/// Onerous.\nfn g() {}\n/// None of them.\nfn h() {}", 1, 3),
    ("// It is no doc comment.\n//// Nor is this.\nfn f() {}", 0, 0),
    ("/// Returns `None`.\n///\n/// This is the second paragraph.\nfn f() {}", 0, 1),
])
def test_counts_doc_comments_that_hide_their_subject(check, text, hidden, all_of_them):
    code, lines = check(text)
    assert lines[-3].startswith(f"{hidden} of {all_of_them} doc comments")
    assert code == (1 if hidden else 0)


@pytest.mark.parametrize("text, count", [
    ("let (a, b) = (1, 2);", 1),
    ('let (a, mut b): (&str, Vec<u8>) = (\n    "x",\n    vec![],\n);', 1),
    ("let (a, (b, c)) = (f(x, y), z);", 1),
    ("let (a, b) = f(1, 2);", 0),
    ("let (a, b) = (f(1, 2));", 0),
    ("let (Some(a), Some(b)) = (x, y) else { return };", 0),
    ("if let (Some(a), Some(b)) = (x, y) {}", 0),
    ("let a = (1, 2);", 0),
    ("// let (a, b) = (1, 2);", 0),
])
def test_counts_tuple_lets(check, text, count):
    code, lines = check(f"fn f() {{\n{text}\n}}\n")
    assert lines[-2] == f"{count} tuple-lets; at most 20"
    assert code == 0
    assert [line.split(":")[1] for line in lines if "packs" in line] == ["2"] * count


def test_fails_above_twenty_tuple_lets(check):
    assert check("fn f() { let (a, b) = (1, 2); }\n" * 20)[0] == 0
    assert check("fn f() { let (a, b) = (1, 2); }\n" * 21)[0] == 1


@pytest.mark.parametrize("text, complaint", [
    (LONG.replace("{", "{\n", 1), "src/a.rs:1: long has 62 lines, 0 parameters"),
    ("fn wide(&self, a: A<B, C>, d: impl Fn(E, F) -> G, h: [u8; 2], i: I, j: J, k: K) {}", "src/a.rs:1: wide has 1 lines, 7 parameters"),
    ("fn six(&self, a: A<B, C>, d: impl Fn(E, F) -> G, h: H, i: I,\n j: J,\n) {}", None),
    ("fn declared(a: A, b: B, c: C, d: D, e: E, f: F, g: G);", None),
    ("#[cfg(test)]\nmod tests {\n" + LONG + LONG + "}\n", None),
    ("#[test]\n" + LONG.replace("{", "{\n", 1), None),
    (LONG, "src/a.rs:1: long has 61 lines, 0 parameters"),
    (LONG.replace("    step();\n", "", 1), None),
])
def test_complains_of_long_functions_outside_tests(check, text, complaint):
    code, lines = check(text)
    assert [line for line in lines if " parameters" in line and line.startswith("src/a.rs:")] == ([complaint] if complaint else [])
    assert code == (1 if complaint else 0)


@pytest.mark.parametrize("name", ["src/tests.rs", "src/a/tests/b.rs", "src/testing/ca.rs"])
def test_files_of_tests_may_have_long_functions(check, name):
    assert check(LONG, name)[0] == 0


def test_file_that_is_declared_for_tests_may_have_long_functions(check, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/mod.rs").write_text("#[cfg(test)]\npub(crate) mod a;\n")
    assert check(LONG)[0] == 0
