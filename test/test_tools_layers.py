"""The layer check finds what it is there to find, and nothing else."""
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent


def check(tree):
    """Exit code and output of the layer check for a tree."""
    done = subprocess.run([sys.executable, TOP / "test/tools/layers.py", tree], capture_output=True, text=True)
    return done.returncode, done.stdout


@pytest.fixture
def tree(tmp_path):
    """Writes files into a small tree that keeps to its layers, and returns what the check says."""
    def build(files):
        pure = "#![forbid(unsafe_code)]\n"
        for name, text in {"lib.rs": "pub mod model;\n", "model/mod.rs": pure, "http/mod.rs": "", "acme/mod.rs": pure}.items():
            path = tmp_path / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name, text in files.items():
            path = tmp_path / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return check(tmp_path)
    return build


def test_pure_module_that_names_the_server_fails(tmp_path):
    shutil.copytree(TOP / "src", tmp_path / "src")
    assert check(tmp_path) == check(TOP)
    intruder = tmp_path / "src/model/intruder.rs"
    intruder.parent.mkdir(exist_ok=True)
    intruder.write_text("//! Not pure.\n\nuse crate::httpd::config::Server;\n")
    code, output = check(tmp_path)
    assert code == 1
    assert "src/model/intruder.rs:3: model must not use httpd" in output.splitlines()


REFUSED = [
    ("model/a.rs", "use apache_sys::request_rec;", "a.rs:1: model must not use apache_sys"),
    ("model/a.rs", "\nfn f() { apache_sys::ap_log(); }", "a.rs:2: model must not use apache_sys"),
    ("model/a.rs", "use super::super::store::Store;", "a.rs:1: model must not use store"),
    ("model/mod.rs", "#![forbid(unsafe_code)]\nuse super::clock;", "mod.rs:2: model must not use clock"),
    ("model/a.rs", "mod inner {\n use super::super::super::log::Level;\n}", "a.rs:2: model must not use log"),
    ("model/a.rs", "use crate::{\n model::B,\n store::{self, Group},\n};", "a.rs:3: model must not use store"),
    ("model/a.rs", "fn f() -> crate::registry::Job { x }", "a.rs:1: model must not use registry"),
    ("model/a.rs", "use crate as c;", "a.rs:1: the whole crate under one name"),
    ("model/a.rs", "#[cfg(test)]\nmod tests { use crate::store::Store; }", "a.rs:2: model must not use store"),
    ("acme/a.rs", "use crate::registry::Job;", "a.rs:1: acme must not use registry"),
    ("acme/a.rs", "use crate::ocsp::Answer;", "a.rs:1: acme must not use ocsp"),
    ("acme/a.rs", "use std::{io, fs::File};", "a.rs:1: acme must not use std::fs"),
    ("acme/a.rs", "use std::net::{IpAddr, TcpStream};", "a.rs:1: acme must not use std::net"),
    ("acme/a.rs", "use std::time as t;\nfn f() { t::SystemTime::now(); }", "a.rs:2: acme must not use std::time::SystemTime::now"),
    ("acme/a.rs", "use std::time::SystemTime;\nfn f() { SystemTime::now(); }", "a.rs:2: acme must not use std::time::SystemTime::now"),
    ("acme/a.rs", "use std::process::Command;", "a.rs:1: acme must not use std::process"),
    ("acme/a.rs", "use openssl::x509::X509;", "a.rs:1: acme must not use openssl"),
    ("httpd/hooks.rs", "use openssl::x509::X509;", "hooks.rs:1: httpd must not use openssl"),
    ("acme/a.rs", "use curl::easy::Easy;", "a.rs:1: acme must not use curl"),
    ("acme/a.rs", "fn f() { unsafe { g() } }", "a.rs:1: unsafe code in acme"),
    ("acme/mod.rs", "//! Without the attribute.", "acme/mod.rs:1: acme lacks #![forbid(unsafe_code)]"),
    ("bin/a2md.rs", "#![forbid(unsafe_code)]\nuse mod_md::httpd;", "a2md.rs:2: a2md must not use httpd"),
    ("lib.rs", "pub mod model;\npub use model::Name;", "lib.rs:2: lib must not use model"),
    ("utils.rs", "", "utils.rs:1: utils is not a known layer"),
]


@pytest.mark.parametrize("file, text, complaint", REFUSED)
def test_refuses(tree, file, text, complaint):
    code, output = tree({file: text})
    assert code == 1
    assert complaint in output


def test_refuses_a_second_file_with_unsafe_code_in_http(tree):
    code, output = tree({"http/a.rs": "fn f() { unsafe { g() } }", "http/b.rs": "\nfn f() { unsafe { g() } }"})
    assert code == 1
    assert output.splitlines() == ["src/http/b.rs:2: a second file with unsafe code in http; src/http/a.rs is its one"]


ALLOWED = [
    ("model/a.rs", "// use crate::httpd;\n/* apache_sys::x */ const A: &str = \"crate::store::X\";"),
    ("model/a.rs", "const A: &str = r#\"use crate::httpd; \"#;\nfn f<'a>(x: &'a str) -> char { '\"' }"),
    ("model/a.rs", "use super::Name;\nmod tests { use super::super::b::C; use super::*; }"),
    ("model/a.rs", "use std::net::{IpAddr, Ipv6Addr};"),
    ("model/a.rs", "#[cfg(test)]\nmod tests {\n use std::fs;\n fn f() { fs::read(\"x\"); }\n}"),
    ("acme/a.rs", "use crate::{crypto::Key, http::HttpClient, model, log::Level, clock::Clock};"),
    ("acme/a.rs", "use std::time::SystemTime;\nfn f(now: SystemTime) -> impl Iterator + use<'_> { now.store() }"),
    ("httpd/ssl/mod.rs", "use openssl::x509::X509;\nfn f() { unsafe { apache_sys::g() } }"),
    ("http/easy.rs", "fn f() { unsafe { curl_sys::g() } }"),
    ("bin/a2md.rs", "#![forbid(unsafe_code)]\nuse mod_md::cli;"),
    ("cli/mod.rs", "#![forbid(unsafe_code)]\nuse crate::{registry::Registry, status};\nuse clap::Parser;"),
]


@pytest.mark.parametrize("file, text", ALLOWED)
def test_allows(tree, file, text):
    code, output = tree({file: text})
    assert code == 0, output
