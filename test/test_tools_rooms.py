"""The check of rooms follows names to the file that defines them, and finds circles, upward imports and rooms that hold too much."""
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
# A tree of the rooms `model` and `sets`, in which no room holds more than its share.
ROOMS = {f"src/{room}/mod.rs": "//! A room.\n" * 10 for room in
         ("model", "clock", "cancel", "log", "crypto", "http", "exec", "store", "acme", "ocsp")}


@pytest.fixture
def check(tmp_path):
    """Runs the check over a tree of rooms with these files, and returns its exit code and lines."""
    def run(files):
        for name, text in {**ROOMS, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run([sys.executable, TOP / "test/tools/rooms.py", tmp_path], capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines()
    return run


def test_rooms_that_keep_to_their_places_pass_with_their_figures(check):
    code, lines = check({"src/sets/mod.rs": "mod a;\npub use a::Set;\n", "src/sets/a.rs": "use crate::model::Name;\n"})
    assert code == 0
    assert lines[0].startswith("11 rooms, 103 lines; the largest: acme 9.7 %") and lines[1].startswith("0 circles")


def test_a_name_that_is_passed_on_counts_for_the_room_that_defines_it(check):
    code, lines = check({
        "src/store/mod.rs": "//! A room.\nmod file;\npub use crate::sets::Set;\n", "src/store/file.rs": "\nuse super::Set;\n",
        "src/sets/mod.rs": "mod set;\npub use set::Set;\n", "src/sets/set.rs": "pub struct Set;\n",
    })
    assert code == 1
    assert "src/store/file.rs:2: store must not use sets: the name comes from src/sets/set.rs" in lines


@pytest.mark.parametrize("files, words", [
    ({"src/sets/mod.rs": "mod a;\n", "src/sets/a.rs": "use crate::live::B;\n", "src/live/mod.rs": "use crate::sets::a::A;\n"},
     "2 files import each other in a circle: src/live/mod.rs src/sets/a.rs"),
    ({"src/sets/mod.rs": "".join(f"mod m{n};\n" for n in range(5)),
      **{f"src/sets/m{n}.rs": f"use super::m{(n + 1) % 5}::X;\n" for n in range(5)}},
     "5 files import each other in a circle: src/sets/m0.rs src/sets/m1.rs"),
    ({"src/sets/mod.rs": "//! Large.\n" * 50}, "src/sets: holds 33.3 % of the lines, more than 12 %"),
])
def test_refuses(check, files, words):
    code, lines = check(files)
    assert code == 1
    assert any(line.startswith(words) for line in lines), lines


def test_tests_may_import_what_they_like(check):
    code, lines = check({
        "src/sets/mod.rs": "#[cfg(test)]\nmod tests;\nmod a;\n", "src/sets/tests.rs": "use crate::live::B;\n",
        "src/sets/a.rs": "#[cfg(test)]\nmod tests {\n use crate::live::B;\n}\n", "src/live/mod.rs": "use crate::sets::a::A;\n",
    })
    assert code == 0, lines
