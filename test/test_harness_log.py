"""The harness: what of an error log has to be announced."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.log import Log

_STAMP = "[Mon Nov 23 01:58:21.546917 2026]"


def _log(folder: Path, *lines: str) -> Log:
    path = folder / "error_log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return Log(path)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (f"{_STAMP} [md:warn] [pid 1:tid 1] AH10045: no host", True),
        (f"{_STAMP} [md:error] [pid 1] (20014)Internal error: AH10056: processing a", True),
        (f"{_STAMP} [ssl:error] [pid 1:tid 9] [client 127.0.0.1:9] AH02033: no name", True),
        (f"{_STAMP} [core:crit] [pid 1:tid 1] AH00001: odd", True),
        (f"{_STAMP} [core:notice] [pid 1:tid 1] AH00052: child pid 7 exit signal Killed (9)", True),
        ("thread 'renew' panicked at src/lib.rs:1:1", True),
        ("double free or corruption (fasttop)", True),
        (f"{_STAMP} [md:notice] [pid 1:tid 1] AH10059: renewed", False),
        (f"{_STAMP} [md:info] [pid 1:tid 1] AH10071: start", False),
        (f"{_STAMP} [mpm_event:error] [pid 1:tid 1] AH00484: busy", False),
        (f"{_STAMP} [ssl:warn] [pid 1:tid 1] AH01882: Init: compiled against a newer library", False),
        (f"{_STAMP} [core:warn] [pid 1:tid 1] AH00558: httpd: no domain name", False),
        (f"{_STAMP} [md:warn] [pid 1:tid 1] MD0006: as told by AH01882", True),
    ],
)
def test_log_knows_what_is_a_complaint(tmp_path: Path, line: str, complaint: bool) -> None:
    log = _log(tmp_path, line)
    assert bool(log.unannounced) == complaint


def test_log_is_satisfied_by_announcements_by_number_and_by_phrase(tmp_path: Path) -> None:
    log = _log(
        tmp_path, f"{_STAMP} [md:warn] [pid 1:tid 1] AH10045: no host", f"{_STAMP} [md:error] [pid 1:tid 1] bad store"
    )
    log.expects("AH10045")
    assert [line.text for line in log.unannounced] == ["bad store"]
    log.expects("bad store")
    assert not log.unannounced
    assert not log.never_came


def test_log_numbers_are_not_matched_by_their_beginning(tmp_path: Path) -> None:
    log = _log(tmp_path, f"{_STAMP} [md:warn] [pid 1:tid 1] AH10045: no host")
    assert log.count("AH1004") == 0
    assert log.count("AH10045") == 1


def test_log_misses_an_announcement_that_never_came_unless_optional(tmp_path: Path) -> None:
    log = _log(tmp_path)
    log.expects("AH10045")
    log.expects("AH10056", optional=True)
    assert log.never_came == ["AH10045"]


def test_log_leaves_out_a_line_that_is_still_being_written(tmp_path: Path) -> None:
    log = _log(tmp_path, f"{_STAMP} [md:info] [pid 1:tid 1] whole")
    with log.path.open("a") as file:
        file.write("[Mon Nov 2")
    assert [line.text for line in log.lines] == ["whole"]


def test_log_takes_in_what_came_before_it_was_opened(tmp_path: Path) -> None:
    log = _log(tmp_path)
    log.add_console(f"{_STAMP} [core:warn] [pid 1:tid 1] AH00111: no variable\nSyntax OK\n")
    assert [line.text for line in log.unannounced] == ["AH00111: no variable"]
