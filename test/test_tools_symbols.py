"""The check of what the module asks of the server and what it exports."""
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "tools"))

import symbols  # noqa: E402

MMN = """/*
 * 20120211.110 (2.4.49-dev) Add hook child_stopping to get informed that a child
 *                           is being stopped, ap_old_enough()
 * 20120211.117 (2.4.50-dev) Add ap_pre_connection
 * 20120211.122 (2.4.51-dev) Add ap_thread_create(),
 *                           ap_thread_current()
 */
"""


def test_reads_what_came_after_the_oldest_httpd():
    assert symbols.newer_than_oldest(MMN) == {"ap_pre_connection", "ap_thread_create", "ap_thread_current"}


def test_complains_about_each_kind():
    newer = {"ap_thread_create"}
    lines = symbols.complaints({"ap_a", "ap_new", "ap_thread_create"}, {"md_module", "rust_alloc"}, {"ap_a"}, newer)
    assert [line.split(":")[0] for line in lines] == ["ap_thread_create", "ap_new", "rust_alloc"]


def test_is_content_with_a_module_that_needs_less_than_listed():
    assert symbols.complaints({"ap_a"}, {"md_module"}, {"ap_a", "ap_b"}, set()) == []


def test_sees_symbols_of_a_real_library(tmp_path):
    (tmp_path / "m.c").write_text("extern int ap_f(void); int md_module; int other(void) { return ap_f(); }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "m.so", tmp_path / "m.c"], check=True)
    assert "ap_f" in symbols.symbols(tmp_path / "m.so", "--undefined-only")
    assert symbols.symbols(tmp_path / "m.so", "--defined-only") >= {"md_module", "other"}


def test_finds_folders_of_the_builder_in_a_module():
    binary = b"\x7fELF\0/home/me/.cargo/registry/src/x.rs\0/usr/lib/home/me.rs\0/srv/work/src/lib.rs:1\0./src/lib.rs\0"
    assert symbols.names_of({"/home/me", "/srv/work"}, binary) == ["/home/me/.cargo/registry/src/x.rs", "/srv/work/src/lib.rs:1"]
    assert symbols.names_of(set(), binary) == []
