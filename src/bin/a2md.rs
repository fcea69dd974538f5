//! The command line for a store of managed domains. It tells its version; commands are not in this release.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};
use mod_md::model::VERSION;

/// Exit code for help and for options that are not understood.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match arguments().try_get_matches() {
        Ok(matches) if matches.get_flag("version") => say(&format!("version: {VERSION}")),
        Ok(_) => {
            let _ = writeln!(std::io::stderr(), "{}", arguments().render_help());
            ExitCode::from(USAGE)
        }
        Err(err) => {
            let _ = write!(std::io::stderr(), "{err}");
            ExitCode::from(USAGE)
        }
    }
}

fn arguments() -> Command {
    let version = Arg::new("version").short('V').long("version").action(ArgAction::SetTrue).help("Print the version");
    Command::new("a2md").about("Looks after the store of managed domains").arg(version)
}

fn say(line: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
