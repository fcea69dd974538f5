//! The table of all commands: what each needs, what happens where there is no store, and its code.

use super::error::CliError;
use super::given::Given;
use super::session::Session;
use super::unknown::Unknown;
use super::{accounts, check, domains, drive, fleet, import, persist, preflight, revoke, status, store};

/// Precondition of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// The directory of the store, which the command opens by itself.
    Directory,
    /// An open store.
    Store,
    /// An open store and the URL of a CA.
    Ca,
}

/// What happens if the directory has no store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The store is made.
    Made,
    /// The command fails: the directory is a slip of the keyboard.
    Failure,
}

type Run = fn(&mut Session, &Given<'_>) -> Result<(), CliError>;
/// A command: its words, its precondition, what happens without a store, and its code.
type Row = (&'static str, Needs, Absent, Run);

#[rustfmt::skip]
pub const COMMANDS: [Row; 24] = [
    ("add",             Needs::Store,     Absent::Made,    domains::add),
    ("update",          Needs::Store,     Absent::Failure, domains::update),
    ("list",            Needs::Store,     Absent::Failure, domains::list),
    ("drive",           Needs::Store,     Absent::Failure, drive::drive),
    ("revoke",          Needs::Store,     Absent::Failure, revoke::revoke),
    ("status",          Needs::Store,     Absent::Failure, status::status),
    ("check",           Needs::Directory, Absent::Failure, check::check),
    ("preflight",       Needs::Store,     Absent::Failure, preflight::preflight),
    ("persist-record",  Needs::Store,     Absent::Failure, persist::record),
    ("import certbot",  Needs::Store,     Absent::Made,    import::certbot),
    ("store add",       Needs::Store,     Absent::Made,    store::add),
    ("store remove",    Needs::Store,     Absent::Failure, store::remove),
    ("store list",      Needs::Store,     Absent::Failure, store::list),
    ("store update",    Needs::Store,     Absent::Failure, store::update),
    ("acme newreg",     Needs::Ca,        Absent::Made,    accounts::newreg),
    ("acme validate",   Needs::Ca,        Absent::Failure, accounts::validate),
    ("acme agree",      Needs::Ca,        Absent::Failure, accounts::agree),
    ("acme update",     Needs::Store,     Absent::Failure, accounts::update),
    ("acme rollover",   Needs::Store,     Absent::Failure, accounts::rollover),
    ("acme import",     Needs::Ca,        Absent::Made,    accounts::import),
    ("acme deactivate", Needs::Store,     Absent::Failure, accounts::deactivate),
    ("acme delreg",     Needs::Store,     Absent::Failure, accounts::delreg),
    ("fleet keygen",    Needs::Nothing,   Absent::Failure, fleet::keygen),
    ("fleet check",     Needs::Nothing,   Absent::Failure, fleet::check),
];

/// Names the commands that make a store, for a sentence.
pub fn makers() -> String {
    let makers = COMMANDS.iter().filter(|(_, _, absent, _)| *absent == Absent::Made);
    let quoted: Vec<_> = makers.map(|(path, ..)| format!("'{path}'")).collect();
    let (last, others) = quoted.split_last().expect("some commands make a store");
    format!("{} and {last}", others.join(", "))
}

/// Makes the error for the words of a command that is not there.
pub fn unknown(path: &str) -> CliError {
    let paths = COMMANDS.iter().map(|(path, ..)| *path);
    // The word alone is a slip, too: `delreg` for `acme delreg`.
    let of_word = paths.clone().find(|known| known.ends_with(&format!(" {path}")));
    let near = of_word.map(str::to_owned);
    let found = Unknown::among(path, paths.chain(["help", "version", "renew", "certificates"]));
    CliError::UnknownCommand(Unknown { near: near.or(found.near), ..found })
}

/// Runs the command that was given.
pub fn perform(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    if given.is_incomplete {
        return Err(CliError::Usage("a command is missing"));
    }
    let row = COMMANDS.iter().find(|(path, ..)| *path == given.path);
    let (path, needs, absent, run) = row.ok_or_else(|| unknown(&given.path))?;
    if *needs == Needs::Nothing {
        return run(session, given);
    }
    let dir = session.find().ok_or_else(|| CliError::NoDirectory((*path).to_owned()))?;
    if *needs == Needs::Ca && session.acme.is_none() {
        return Err(CliError::NoCa((*path).to_owned()));
    }
    if *needs != Needs::Directory {
        session.open(&dir, *absent == Absent::Made)?;
    }
    run(session, given)
}
