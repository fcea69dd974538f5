//! The entry of the program a2md, which `main` in c-shim/a2md.c calls: module and program are linked from one archive.

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

use crate::cli;

/// Runs a2md with the arguments of `main` and returns its exit code.
#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_a2md(argc: c_int, argv: *const *const c_char) -> c_int {
    let words = (0..usize::try_from(argc).unwrap_or(0)).map(|n| {
        // SAFETY: `main` passes on what the C library gives it: `argc` strings, until the process ends.
        let word = unsafe { *argv.wrapping_add(n) };
        // SAFETY: as above; each string ends with NUL.
        let word = unsafe { CStr::from_ptr(word) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    c_int::from(cli::run(words))
}
