//! The program `a2md`, whose code is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(mod_md::cli::run(std::env::args_os()))
}
