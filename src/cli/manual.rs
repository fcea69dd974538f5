//! Writes the man pages `docs/a2md.8` and `docs/man/a2md-*.8`, and `completions/` for the shells, from the definitions of the command
//! line; compiled for tests only.
//!
//! `BLESS=1 cargo test --lib manual` updates the files.

use std::path::Path;

use clap::{Arg, Command};
use clap_complete::{Shell, generate};

use super::args;
use super::environment::USUAL;
use crate::model::VERSION;

/// Sections that cannot be derived from the definitions.
const REST: &str = r#".SH "EXIT STATUS"
.TP
0
The command succeeded.
.TP
1
The command failed, or an argument is missing. With \fB\-j\fR, the document has the result code as \fBstatus\fR, a short reason as \fBdescription\fR, the type of the problem as \fBproblem\fR and the whole reason as \fBdetail\fR.
.TP
2
An option is not known.
.SH ENVIRONMENT
.TP
\fBA2MD_DIR\fR
The directory of the store, where \fB\-d\fR does not name it.
.TP
\fBhttp_proxy\fR, \fBhttps_proxy\fR, \fBall_proxy\fR, \fBno_proxy\fR
The proxy for requests to ACME servers, where neither \fB\-p\fR nor the domain names one.
.TP
\fBNO_COLOR\fR
If it is set and not empty, \fBstatus\fR has no colours.
.SH FILES
.TP
USUAL
The places in which the store is looked for, in this order.
.TP
\fI/etc/resolv.conf\fR
The name servers that \fBpreflight\fR asks.
.PP
The store is a directory owned by root. Each of its groups has an entry for every domain or account: \fBdomains\fR the settings and certificates that the server uses, \fBlive\fR certificates that the server uses without a restart (\fBMDActivation live\fR), \fBstaging\fR renewals in progress, \fBarchive\fR former certificates, \fBaccounts\fR accounts at ACME servers, \fBchallenges\fR the responses to challenges. A server with mod_md sends the responses in \fBchallenges\fR for any host name, even if no \fBMDomain\fR is configured.
.SH EXAMPLES
Obtain a certificate for a running server that has an http host of that name:
.PP
.nf
a2md add \-\-now \-a letsencrypt \-t accepted www.example.org
.fi
.PP
Import the certificates of certbot, and show the result:
.PP
.nf
a2md import certbot /etc/letsencrypt
a2md status
.fi
.SH NOTES
A server serves a domain only if an \fBMDomain\fR in its configuration names it; from the next start on, that configuration also determines the settings of the domain. Certificates that \fBdrive\fR obtains are served after the next (graceful) restart, or within seconds with \fBMDActivation live\fR. An imported certificate with an elliptic curve key is renewed with such a key only if \fBMDPrivateKeys\fR lists the curve.
.SH "SEE ALSO"
OTHERS.BR apachectl (8)
"#;

fn page() -> String {
    let mut command = args::command();
    command.build();
    let about = escaped(&command.get_about().unwrap().to_string());
    let mut page = format!(".TH a2md 8 \"\" \"a2md {VERSION}\" mod_md\n.SH NAME\na2md \\- {about}\n");
    page += ".SH SYNOPSIS\n\\fBa2md\\fR [\\fIoptions\\fR] \\fIcommand\\fR [\\fIcommand options\\fR] [\\fIarguments\\fR]\n.SH DESCRIPTION\n";
    page += &paragraph(&command.get_long_about().unwrap().to_string());
    page += ".PP\nThe options of all commands stand before or after the command, and options after \\fB\\-\\-\\fR are arguments.\n.SH OPTIONS\n";
    command.get_arguments().for_each(|arg| page += &option(arg));
    page += ".SH COMMANDS\n";
    let mut others = String::new();
    for (path, below) in leaves("", &command) {
        page += &format!(".SS {}\n", synopsis(&path, &below));
        page += &description(&below);
        page += &options(&below);
        if let Some(more) = below.get_after_help() {
            page += &format!(".PP\n.nf\n{}\n.fi\n", escaped(&more.to_string()));
        }
        others += &format!(".BR {} (8),\n", escaped(&page_name(&path)));
    }
    let usual: Vec<_> = USUAL.iter().map(|dir| format!("\\fI{}\\fR", escaped(dir))).collect();
    page + &REST.replace("USUAL", &usual.join(", ")).replace("OTHERS", &others)
}

/// Returns the page of a command.
fn page_of(path: &str, command: &Command) -> String {
    let about = escaped(&command.get_about().unwrap().to_string());
    let name = page_name(path);
    let shown = escaped(&name);
    let mut page = format!(".TH {name} 8 \"\" \"a2md {VERSION}\" mod_md\n.SH NAME\n{shown} \\- {about}\n");
    page += &format!(".SH SYNOPSIS\n\\fBa2md\\fR [\\fIoptions\\fR] {}\n", synopsis(path, command));
    page += &format!(".SH DESCRIPTION\n{}", description(command));
    let names: Vec<_> = command.get_visible_aliases().map(|name| format!("\\fBa2md {name}\\fR")).collect();
    if !names.is_empty() {
        page += &format!(".PP\nAnother name of the command is {}.\n", names.join(", "));
    }
    page += &format!(".SH OPTIONS\n{}", options(command));
    page += ".PP\nThe options of all commands, the environment, the files and the exit status are in\n.BR a2md (8).\n";
    let more = command.get_after_help().unwrap().to_string();
    let (settings, examples) = more.split_once("Examples:\n").unwrap();
    if !settings.is_empty() {
        page += &format!(".PP\n.nf\n{}\n.fi\n", escaped(settings.trim_end()));
    }
    page + &format!(".SH EXAMPLES\n.nf\n{}\n.fi\n.SH \"SEE ALSO\"\n.BR a2md (8)\n", escaped(examples))
}

/// Returns the commands below one that are no groups, with their words.
fn leaves(path: &str, command: &Command) -> Vec<(String, Command)> {
    let found = command.get_subcommands().flat_map(|below| {
        let path = format!("{path} {}", below.get_name()).trim().to_owned();
        if below.has_subcommands() { leaves(&path, below) } else { vec![(path, below.clone())] }
    });
    found.collect()
}

/// Returns the name of the page of a command, e.g. `a2md-store-add`.
fn page_name(path: &str) -> String {
    format!("a2md-{}", path.replace(' ', "-"))
}

fn synopsis(path: &str, command: &Command) -> String {
    let words = command.clone().render_usage().to_string();
    let options = command.get_arguments().filter(|arg| is_own(arg) && !arg.is_positional());
    let options: String = options.map(usage).collect();
    let words = words.rsplit_once("[options]").map_or("", |(_, words)| words);
    format!("\\fB{}\\fR{options}\\fI{}\\fR", escaped(path), escaped(words))
}

fn description(command: &Command) -> String {
    paragraph(&command.get_long_about().or(command.get_about()).unwrap().to_string())
}

fn options(command: &Command) -> String {
    command.get_arguments().filter(|arg| !arg.is_hide_set() && is_own(arg)).map(option).collect()
}

/// Whether an option is one of its command only.
fn is_own(arg: &Arg) -> bool {
    !arg.is_global_set() && arg.get_id() != "help"
}

fn usage(arg: &Arg) -> String {
    let value = if arg.get_action().takes_values() { format!(" \\fI{}\\fR", value_name(arg)) } else { String::new() };
    let word =
        arg.get_short().map_or_else(|| format!("\\-\\-{}", arg.get_long().unwrap()), |short| format!("\\-{short}"));
    format!(" [{word}{value}]")
}

fn option(arg: &Arg) -> String {
    let value = value_name(arg);
    let head = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) if arg.get_action().takes_values() => {
            format!("\\fB\\-{short}\\fR, \\fB\\-\\-{long}\\fR \\fI{value}\\fR")
        }
        (Some(short), Some(long)) => format!("\\fB\\-{short}\\fR, \\fB\\-\\-{long}\\fR"),
        (None, Some(long)) if arg.get_action().takes_values() => format!("\\fB\\-\\-{long}\\fR \\fI{value}\\fR"),
        (None, Some(long)) => format!("\\fB\\-\\-{long}\\fR"),
        _ => format!("\\fI{value}\\fR"),
    };
    format!(".TP\n{head}\n{}", paragraph(&arg.get_help().unwrap().to_string()))
}

fn value_name(arg: &Arg) -> String {
    escaped(arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str()))
}

fn paragraph(text: &str) -> String {
    format!("{}.\n", escaped(text.trim_end_matches('.')))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace("\n.", "\n\\&.").replace("'", "\\(aq")
}

/// Compares a file of the repository with what it has to be, or writes it.
fn check(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == text,
        "{file} differs from the definitions; `BLESS=1 cargo test --lib manual` updates it"
    );
}

#[test]
fn the_man_pages_are_what_the_definitions_give() {
    check("docs/a2md.8", &page());
    let mut command = args::command();
    command.build();
    let commands = leaves("", &command);
    for (path, command) in &commands {
        check(&format!("docs/man/{}.8", page_name(path)), &page_of(path, command));
    }
    let pages = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/man")).unwrap();
    assert_eq!(pages.count(), commands.len(), "a page of a command that is not there");
}

/// Leaves the first part of each text, as a shell shows it in one line.
fn brief(command: Command) -> Command {
    let first = |arg: Arg| {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let first = help.split([';', ',']).next().unwrap_or_default().split(". ").next().unwrap_or_default();
        arg.help(first.to_owned())
    };
    command.mut_args(first).mut_subcommands(brief)
}

#[test]
fn the_completions_are_what_the_definitions_give() {
    for (shell, file) in [(Shell::Bash, "a2md.bash"), (Shell::Zsh, "_a2md"), (Shell::Fish, "a2md.fish")] {
        let mut text = Vec::new();
        generate(shell, &mut brief(args::command()), "a2md", &mut text);
        check(&format!("completions/{file}"), &String::from_utf8(text).unwrap());
    }
}
