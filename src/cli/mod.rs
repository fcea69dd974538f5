//! The command line `a2md`: works on a store of managed domains, beside the server or without one.
#![forbid(unsafe_code)]

mod accounts;
mod args;
mod check;
mod domains;
mod drive;
mod environment;
mod error;
mod import;
#[cfg(test)]
mod manual;
mod output;
mod persist;
mod preflight;
mod revoke;
mod session;
mod status;
mod store;
mod syntax;
#[cfg(test)]
mod testing;

use std::ffi::OsString;
use std::sync::Arc;

use self::args::{Given, given};
use self::environment::Environment;
use self::error::CliError;
use self::session::Session;
use crate::model::VERSION;

/// Exit code of a command that failed.
const FAILED: u8 = 1;
/// Exit code for help and for options that are not understood.
const USAGE: u8 = 2;

/// Precondition of a command.
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
const COMMANDS: [(&str, Needs, Run); 22] = [
    ("add",            Needs::Store,     domains::add),
    ("update",         Needs::Store,     domains::update),
    ("list",           Needs::Store,     domains::list),
    ("drive",          Needs::Store,     drive::drive),
    ("revoke",         Needs::Store,     revoke::revoke),
    ("status",         Needs::Store,     status::status),
    ("check",          Needs::Directory, check::check),
    ("preflight",      Needs::Store,     preflight::preflight),
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

/// Commands that make a store where there is none. With all others a directory without a store is a slip of the keyboard.
const MAKERS: [&str; 5] = ["add", "import certbot", "store add", "acme newreg", "acme import"];

/// Runs the program with these arguments, the first of which is its own name, and returns the exit code.
pub fn run(words: impl IntoIterator<Item = OsString>) -> u8 {
    run_in(Environment::of_process(), words)
}

fn run_in(environment: Environment, words: impl IntoIterator<Item = OsString>) -> u8 {
    let terminal = Arc::clone(&environment.terminal);
    let matches = match args::command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(err) => {
            terminal.say(&err.to_string());
            return USAGE;
        }
    };
    terminal.listen(i32::from(matches.get_count("verbose")) - i32::from(matches.get_count("quiet")));
    if matches.get_flag("version") {
        terminal.print(&format!("version: {VERSION}"));
        return 0;
    }
    let mut session = Session::new(environment, &matches);
    let definition = args::command();
    let result = match given(&definition, &matches) {
        Ok(given) if given.flag("help") => {
            terminal.say(&args::find(&given.path).render_long_help().to_string());
            return USAGE;
        }
        Ok(given) => perform(&mut session, &given).inspect_err(|err| {
            err.print(&*terminal);
            if let CliError::Usage(_) = err {
                terminal.say(&args::find(&given.path).render_help().to_string());
            }
        }),
        Err(unknown) => Err(CliError::UnknownCommand(unknown)).inspect_err(|err| err.print(&*terminal)),
    };
    if session.json && !matches!(result, Err(CliError::Usage(_))) {
        session.print_document(result.as_ref().err().map(CliError::to_result).as_ref());
    }
    if result.is_ok() { 0 } else { FAILED }
}

fn perform(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    if given.is_incomplete {
        return Err(CliError::Usage("a command is missing"));
    }
    let row = COMMANDS.iter().find(|(path, _, _)| *path == given.path);
    let (path, needs, run) = row.ok_or_else(|| CliError::UnknownCommand(given.path.clone()))?;
    let dir = session.find().ok_or_else(|| CliError::NoDirectory((*path).to_owned()))?;
    if *needs == Needs::Ca && session.acme.is_none() {
        return Err(CliError::NoCa((*path).to_owned()));
    }
    if *needs != Needs::Directory {
        session.open(&dir, MAKERS.contains(path))?;
    }
    run(session, given)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::Shell;
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

    #[test]
    fn help_and_wrong_options_end_with_code_2_and_the_usage() {
        let shell = Shell::new();
        for (line, words) in [
            ("-h", "Usage: a2md [OPTIONS]"),
            ("--help", "a2md works on the store of mod_md (MDStoreDir)"),
            ("-h list", "Usage: a2md"),
            ("drive -h", "Usage: a2md [options] drive [options] [name...]"),
            ("store -h", "Remove the settings of managed domains"),
            ("acme deactivate --help", "This cannot be undone"),
            ("-x", "unexpected argument '-x'"),
            ("--nothing", "unexpected argument '--nothing'"),
            ("-d", "a value is required for '--dir <dir>'"),
            ("add -x", "Usage: a2md [options] add [options] domain..."),
            ("list -j", "unexpected argument '-j'"),
        ] {
            let done = shell.run_without_store(line);
            assert_eq!((done.code, done.out.as_str()), (2, ""), "{line}");
            assert!(done.err.contains(words), "{line}: {}", done.err);
        }
    }

    #[test]
    fn the_version_is_printed_without_a_command() {
        let done = Shell::new().run_without_store("-V");
        assert_eq!((done.code, done.out, done.err), (0, format!("version: {VERSION}\n"), String::new()));
    }

    #[test]
    fn missing_arguments_are_named_with_the_usage_and_no_document() {
        let shell = Shell::new();
        shell.succeed("add a.org");
        for (line, missing) in [
            ("", "a command is missing"),
            ("store", "a command is missing"),
            ("acme", "a command is missing"),
            ("update", "missing argument: name of a managed domain"),
            ("update a.org ca", "missing argument: URL of the ACME server"),
            ("store update", "missing argument: name of a managed domain"),
            ("store remove", "missing argument: name of a managed domain"),
            ("persist-record", "missing argument: name of a managed domain"),
            ("revoke", "one argument expected: the name of a managed domain"),
            ("revoke a.org b.org", "one argument expected: the name of a managed domain"),
            ("import certbot", "one argument expected: the directory of certbot"),
            ("-a https://ca.test/directory acme import", "one argument expected: the file with a key"),
            ("acme update", "missing argument: id of an account"),
            ("acme rollover", "missing argument: id of an account"),
            ("acme deactivate -y", "missing argument: id of an account"),
            ("acme delreg", "missing argument: id of an account"),
        ] {
            let err = shell.fail(&format!("-j {line}"));
            assert!(err.starts_with(missing) && err.contains("Usage: a2md"), "{line}: {err}");
        }
    }

    #[test]
    fn a_command_without_what_it_needs_fails_and_names_the_option() {
        let shell = Shell::new();
        for (path, needs, _) in COMMANDS {
            let done = shell.run_without_store(&format!("{path} x.org"));
            assert_eq!((done.code, done.out.as_str()), (1, ""), "{path}");
            assert!(done.err.starts_with(&format!("need store directory for command: {path}; ")), "{}", done.err);
            if needs == Needs::Ca {
                let err = shell.fail(&format!("{path} x"));
                assert_eq!(err, format!("need ACME server url (-a) for command: {path}\n"));
            }
        }
    }

    #[test]
    fn a_store_is_found_and_only_commands_that_begin_one_make_it() {
        let shell = Shell::on_files();
        let absent = format!("no store in {}; ", shell.dir().display());
        for (path, _, _) in COMMANDS.iter().filter(|(path, ..)| !MAKERS.contains(path) && *path != "check") {
            let err = shell.fail(&format!("-a https://ca.test/directory {path} a.org"));
            assert!(err.starts_with(&absent), "{path}: {err}");
        }
        let done = shell.run_without_store("list");
        assert!(done.code == 1 && done.err.starts_with("need store directory for command: list; "), "{done:?}");
        assert!(!shell.dir().exists());
        shell.succeed("add a.org");
        let done = shell.run_without_store("list");
        assert_eq!((done.code, done.err), (0, format!("the store is {} (the usual place)\n", shell.dir().display())));
        assert!(done.out.contains("a.org"));
    }

    #[test]
    fn failures_are_told_in_the_document_too() {
        let shell = Shell::new();
        shell.succeed("add a.org");
        for (line, status, description, problem, detail) in [
            ("frob", 22, "Invalid argument", "usage", "unknown cmd: frob"),
            ("delreg x", 22, "Invalid argument", "usage", "unknown cmd: delreg"),
            ("list x.org", 2, "No such file or directory", "not-found", "managed domain not found: x.org"),
            ("add nodot", 22, "Invalid argument", "refused", "not a domain name: nodot"),
            ("update a.org frob", 70023, "unknown setting: frob", "refused", "unknown setting: frob"),
        ] {
            let done = shell.run(&format!("-j {line}"));
            let document = json!({
                "output": [], "status": status, "description": description, "problem": problem, "detail": detail
            });
            assert_eq!((done.code, done.document()), (1, document), "{line}");
        }
        assert_eq!(shell.fail("frob x"), "unknown cmd: frob\n");
        assert_eq!(shell.fail("store frob x"), "unknown cmd: store frob\n");
        shell.succeed("store remove a.org");
        assert_eq!(shell.run("-j list").out, "{\n  \"output\": [],\n  \"status\": 0\n}\n");
    }

    #[test]
    fn a_store_that_cannot_be_used_fails_the_command() {
        let shell = Shell::on_files();
        shell.succeed("add a.org");
        std::fs::write(shell.dir().join("md_store.json"), "{}").unwrap();
        let done = shell.run("-j list");
        assert_eq!((done.code, &done.document()["status"]), (1, &json!(22)));
        assert!(done.err.starts_with("Error 22: ") && done.err.contains("md_store.json is damaged"), "{}", done.err);
    }
}
