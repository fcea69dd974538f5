//! The command line `a2md`: works on a store of managed domains, beside the server or without one.
#![forbid(unsafe_code)]

mod accounts;
mod args;
mod check;
mod commands;
mod domains;
mod drive;
mod environment;
mod error;
mod examples;
mod fleet;
mod given;
mod import;
#[cfg(test)]
mod manual;
mod output;
mod persist;
mod preflight;
mod progress;
mod revoke;
mod session;
mod status;
mod store;
mod syntax;
#[cfg(test)]
mod testing;
mod unknown;
mod words;

use std::ffi::OsString;
use std::sync::Arc;

use self::commands::{perform, unknown};
use self::environment::Environment;
use self::error::CliError;
use self::given::{Given, given};
use self::session::Session;
use crate::model::VERSION;

/// Exit code of a command that failed.
const FAILED: u8 = 1;
/// Exit code for options that are not understood.
const USAGE: u8 = 2;

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
    let definition = args::command();
    let given = given(&definition, &matches);
    let options = given.as_ref().map(Given::options).unwrap_or_default();
    terminal.listen(i32::from(matches.get_count("verbose")) - i32::from(matches.get_count("quiet")), options);
    let mut session = Session::new(environment, &matches);
    let result = match given {
        Ok(given) => match answer(&given) {
            Some(Ok(text)) => {
                terminal.print(text.trim_end());
                return 0;
            }
            Some(Err(err)) => Err(err).inspect_err(|err| err.print(&*terminal)),
            None => perform(&mut session, &given).inspect_err(|err| {
                err.print(&*terminal);
                if let CliError::Usage(_) = err {
                    let usage = args::find(&given.path).map(|mut command| command.render_help().to_string());
                    terminal.say(&usage.unwrap_or_default());
                }
            }),
        },
        Err(path) => Err(unknown(&path)).inspect_err(|err| err.print(&*terminal)),
    };
    if session.json && !matches!(result, Err(CliError::Usage(_))) {
        session.print_document(result.as_ref().err().map(CliError::to_result).as_ref());
    }
    if result.is_ok() { 0 } else { FAILED }
}

/// Returns the text for whoever asks for help or the version, by an option or by a command.
fn answer(given: &Given<'_>) -> Option<Result<String, CliError>> {
    let version = || format!("version: {VERSION}");
    let help = |path: &str| {
        let known = args::find(path);
        known.map(|mut command| command.render_long_help().to_string()).ok_or_else(|| unknown(path))
    };
    match given.path.as_str() {
        path if given.flag("help") => Some(help(path)),
        "" if given.flag("version") => Some(Ok(version())),
        "version" => Some(Ok(version())),
        "help" => Some(help(&given.args().join(" "))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::commands::{Absent, COMMANDS, Needs};
    use super::examples::EXAMPLES;
    use super::testing::Shell;
    use super::*;
    use crate::testing::ca::{Fault, Operation, problem};

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
        for (path, ..) in COMMANDS {
            assert_eq!(parse(path), Ok((path.to_owned(), vec![])));
        }
        let leaves = args::command().get_subcommands().map(|one| one.get_subcommands().count().max(1)).sum::<usize>();
        assert_eq!(leaves, COMMANDS.len() + ["help", "version"].len(), "a definition without code");
    }

    #[test]
    fn each_command_has_examples_that_can_be_given() {
        for path in COMMANDS.iter().map(|(path, ..)| *path).chain(["", "help", "version"]) {
            let examples: Vec<_> = EXAMPLES.iter().filter(|(of, ..)| *of == path).collect();
            assert!(!examples.is_empty(), "{path}");
            for (_, line, _) in examples {
                let line = line.split(" && ").next().unwrap().strip_prefix("a2md ").unwrap();
                let (found, _) = parse(line).unwrap();
                assert!(path.is_empty() || found == path || line == "-V", "{path}: {line}");
            }
        }
    }

    #[test]
    fn options_stand_before_and_after_the_command_and_its_arguments() {
        let args = |line: &str| parse(line).map(|(_, args)| args);
        let words = |text: &str| Ok(text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(args("-vvj -d x --dir=y -qv add a.org -v --json"), words("a.org"));
        assert_eq!(args("drive -f -c http-01 -r a.org -f b.org"), words("a.org b.org"));
        assert_eq!(args("add -- -a.org"), words("-a.org"));
        assert_eq!(args("renew a.org -d x"), words("a.org"));
        for line in
            ["-x", "add -x", "add --dur x", "-d", "--dirs x list", "store remove -x", "drive -c", "add a.org -f"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in ["-j -d x -vv store list", "store -j list -d x -vv", "-d y store list -vv -d x --json"] {
            let matches = args::command().try_get_matches_from(std::iter::once("a2md").chain(line.split(' '))).unwrap();
            assert_eq!(matches.get_one::<String>("dir").unwrap(), "x", "{line}");
            assert_eq!((matches.get_flag("json"), matches.get_count("verbose")), (true, 2), "{line}");
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
    fn help_is_the_result_of_whoever_asks_for_it() {
        let shell = Shell::new();
        for (line, words) in [
            ("-h", "Usage: a2md [OPTIONS]"),
            ("--help", "a2md works on the store of mod_md (MDStoreDir)"),
            ("help", "a2md status"),
            ("-h list", "Usage: a2md"),
            ("drive -h", "Usage: a2md [options] drive [options] [name...]"),
            ("help drive", "Usage: a2md [options] drive [options] [name...]"),
            ("help renew", "Usage: a2md [options] drive [options] [name...]"),
            ("store -h", "Remove the settings of managed domains"),
            ("help store remove", "Ignore domains that do not exist"),
            ("acme deactivate --help", "This cannot be undone"),
        ] {
            let done = shell.run_without_store(line);
            assert_eq!((done.code, done.err.as_str()), (0, ""), "{line}");
            assert!(done.out.contains(words), "{line}: {}", done.out);
            assert!(done.out.contains("Examples:") || line.starts_with("store"), "{line}: {}", done.out);
        }
        assert_eq!(shell.fail("help stor add"), "unknown cmd: stor add; did you mean store add?\n");
    }

    #[test]
    fn wrong_options_end_with_code_2_and_the_usage() {
        let shell = Shell::new();
        for (line, words) in [
            ("-x", "unexpected argument '-x'"),
            ("--nothing", "unexpected argument '--nothing'"),
            ("--jsn list", "a similar argument exists: '--json'"),
            ("drive --forse", "a similar argument exists: '--force'"),
            ("-d", "a value is required for '--dir <dir>'"),
            ("add -x", "Usage: a2md [options] add [options] domain..."),
        ] {
            let done = shell.run_without_store(line);
            assert_eq!((done.code, done.out.as_str()), (2, ""), "{line}");
            assert!(done.err.contains(words), "{line}: {}", done.err);
        }
    }

    #[test]
    fn words_that_are_nearly_right_lead_to_those_that_are() {
        let shell = Shell::new();
        shell.succeed("add a.example.org www.example.org");
        for (line, err) in [
            ("stauts", "unknown cmd: stauts; did you mean status?\n"),
            ("delreg x", "unknown cmd: delreg; did you mean acme delreg?\n"),
            ("store lits", "unknown cmd: store lits; did you mean store list?\n"),
            ("status a.exmple.org", "Info 2: managed domain not found: a.exmple.org; did you mean a.example.org?\n"),
            ("list ww.example.org", "managed domain not found: ww.example.org; did you mean www.example.org?\n"),
            ("update a.example.org contcts x@y.org", "unknown setting: contcts; did you mean contacts?\n"),
        ] {
            assert_eq!(shell.fail(line), err, "{line}");
        }
    }

    #[test]
    fn a_person_gets_one_sentence_with_the_remedy() {
        let shell = Shell::new();
        shell.succeed("add a.example.org");
        for (line, said) in [
            ("frob", "there is no command frob; 'a2md help' lists all"),
            ("stauts", "there is no command stauts; did you mean status?"),
            ("status x.org", "there is no managed domain x.org; 'a2md list' shows all"),
            ("list a.exmple.org", "there is no managed domain a.exmple.org; did you mean a.example.org?"),
            ("update a.example.org frob", "there is no setting frob; 'a2md help update' lists all"),
            ("acme validate x", "'a2md acme validate' needs the URL of an ACME server; name it by -a"),
            ("-a https://ca.test/directory acme agree x", "there is no account x in the store"),
            ("add nodot", "not a domain name: nodot"),
        ] {
            let err = shell.said_to_a_person(line);
            assert!(err.starts_with("Error ") && err.ends_with(&format!(": {said}\n")), "{line}: {err}");
            assert_eq!(err.lines().count(), 1, "{line}: {err}");
        }
        shell.server.ca.fail(Operation::NewAccount, Fault::Answer(problem(400, "malformed", "no JSON")));
        let err = shell.said_to_a_person("-a https://ca.test/directory -t accepted acme newreg");
        assert!(err.starts_with("Error 22: failed to register new account: ") && err.contains("no JSON"), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }

    #[test]
    fn commands_have_the_names_that_people_look_for() {
        let shell = Shell::new();
        shell.succeed("add a.org");
        assert_eq!(shell.succeed("certificates"), shell.succeed("status"));
        assert_eq!(shell.fail("renew x.org"), shell.fail("drive x.org"));
    }

    #[test]
    fn the_version_is_printed_by_an_option_and_by_a_command() {
        for line in ["-V", "version"] {
            let done = Shell::new().run_without_store(line);
            assert_eq!((done.code, done.out, done.err), (0, format!("version: {VERSION}\n"), String::new()));
        }
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
        for (path, needs, ..) in COMMANDS.into_iter().filter(|(_, needs, ..)| *needs != Needs::Nothing) {
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
        let looks = |needs: &Needs| matches!(needs, Needs::Store | Needs::Ca);
        for (path, ..) in COMMANDS.iter().filter(|(_, needs, absent, _)| *absent == Absent::Failure && looks(needs)) {
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
            ("delreg x", 22, "Invalid argument", "usage", "unknown cmd: delreg; did you mean acme delreg?"),
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
