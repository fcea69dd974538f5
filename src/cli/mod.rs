//! The command line `a2md`: works on a store of managed domains, beside the server or without one.
#![forbid(unsafe_code)]

mod accounts;
mod args;
mod check;
mod domains;
mod drive;
mod error;
mod import;
#[cfg(test)]
mod manual;
mod output;
mod persist;
mod revoke;
mod session;
mod status;
mod store;
mod syntax;

use std::ffi::OsString;

use self::args::{Given, given};
use self::error::CliError;
use self::session::Session;
use crate::model::{Status, VERSION};

/// Exit code of a command that failed.
const FAILED: u8 = 1;
/// Exit code for help and for options that are not understood.
const USAGE: u8 = 2;

/// What a command needs before it can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// The directory of the store, which the command opens by itself.
    Directory,
    /// An open store.
    Store,
    /// An open store and the URL of a CA.
    Ca,
}

type Run = fn(&mut Session, &Given<'_>) -> Result<(), CliError>;

/// The code of every command, by its words.
#[rustfmt::skip]
const COMMANDS: [(&str, Needs, Run); 21] = [
    ("add",            Needs::Store,     domains::add),
    ("update",         Needs::Store,     domains::update),
    ("list",           Needs::Store,     domains::list),
    ("drive",          Needs::Store,     drive::drive),
    ("revoke",         Needs::Store,     revoke::revoke),
    ("status",         Needs::Store,     status::status),
    ("check",          Needs::Directory, check::check),
    ("persist-record", Needs::Store,     persist::record),
    ("import certbot", Needs::Store,     import::certbot),
    ("store add",      Needs::Store,     store::add),
    ("store remove",   Needs::Store,     store::remove),
    ("store list",     Needs::Store,     store::list),
    ("store update",   Needs::Store,     store::update),
    ("acme newreg",    Needs::Ca,        accounts::newreg),
    ("acme validate",  Needs::Ca,        accounts::validate),
    ("acme agree",     Needs::Ca,        accounts::agree),
    ("acme update",    Needs::Store,     accounts::update),
    ("acme rollover",  Needs::Store,     accounts::rollover),
    ("acme import",    Needs::Ca,        accounts::import),
    ("acme deactivate", Needs::Store,    accounts::deactivate),
    ("acme delreg",    Needs::Store,     accounts::delreg),
];

/// Runs the program with these arguments, the first of which is its own name, and returns the exit code.
pub fn run(words: impl IntoIterator<Item = OsString>) -> u8 {
    let matches = match args::command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(err) => {
            output::say(&err.to_string());
            return USAGE;
        }
    };
    output::install(i32::from(matches.get_count("verbose")) - i32::from(matches.get_count("quiet")));
    if matches.get_flag("version") {
        output::print(&format!("version: {VERSION}"));
        return 0;
    }
    let mut session = Session::new(&matches);
    let definition = args::command();
    let result = match given(&definition, &matches) {
        Ok(given) if given.flag("help") => {
            output::say(&args::find(&given.path).render_long_help().to_string());
            return USAGE;
        }
        Ok(given) => perform(&mut session, &given).inspect_err(|err| {
            err.tell();
            if let CliError::Usage(_) = err {
                output::say(&args::find(&given.path).render_help().to_string());
            }
        }),
        Err(unknown) => Err(CliError::UnknownCommand(unknown)).inspect_err(CliError::tell),
    };
    let status = result.as_ref().map_or_else(CliError::status, |()| Status::OK);
    if session.json && !matches!(result, Err(CliError::Usage(_))) {
        session.print_document(status);
    }
    if result.is_ok() { 0 } else { FAILED }
}

fn perform(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    if given.is_incomplete {
        return Err(CliError::Usage("a command is missing"));
    }
    let row = COMMANDS.iter().find(|(path, _, _)| *path == given.path);
    let (path, needs, run) = row.ok_or_else(|| CliError::UnknownCommand(given.path.clone()))?;
    if session.dir.is_none() {
        return Err(CliError::NoStore((*path).to_owned()));
    }
    if *needs == Needs::Ca && session.acme.is_none() {
        return Err(CliError::NoCa((*path).to_owned()));
    }
    if *needs != Needs::Directory {
        session.open()?;
    }
    run(session, given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<(String, Vec<String>), String> {
        let definition = args::command();
        let words = std::iter::once("a2md").chain(line.split_whitespace());
        let matches = definition.clone().try_get_matches_from(words).map_err(|err| err.kind().to_string())?;
        let given = given(&definition, &matches)?;
        Ok((given.path.clone(), given.args().into_iter().map(str::to_owned).collect()))
    }

    #[test]
    fn definitions_are_sound_and_every_command_has_its_code() {
        args::command().debug_assert();
        for (path, _, _) in COMMANDS {
            assert_eq!(parse(path), Ok((path.to_owned(), vec![])));
        }
        let leaves = args::command().get_subcommands().map(|one| one.get_subcommands().count().max(1)).sum::<usize>();
        assert_eq!(leaves, COMMANDS.len(), "a definition without code");
    }

    #[test]
    fn options_end_at_the_first_argument_of_their_level() {
        let args = |line: &str| parse(line).map(|(_, args)| args);
        let words = |text: &str| Ok(text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(args("-vvj -d x --dir=y -qv add a.org -v --json"), words("a.org -v --json"));
        assert_eq!(args("drive -f -c http-01 -r a.org -f"), words("a.org -f"));
        assert_eq!(args("add -- -a.org"), words("-a.org"));
        for line in ["-x", "add -x", "add --dir x", "-d", "--dirs x list", "store remove -x", "drive -c"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn unknown_commands_are_named() {
        assert_eq!(parse("frob a.org"), Err("frob".to_owned()));
        assert_eq!(parse("delreg x"), Err("delreg".to_owned()));
        assert_eq!(parse("acme authz"), Err("acme authz".to_owned()));
    }

    #[test]
    fn the_last_of_repeated_options_counts() {
        let matches = args::command().try_get_matches_from(["a2md", "-d", "x", "-j", "-j", "--dir", "y"]).unwrap();
        assert_eq!(matches.get_one::<String>("dir").unwrap(), "y");
    }
}
