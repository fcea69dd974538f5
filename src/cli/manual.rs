//! Writes the man page `docs/a2md.8` from the definitions of the command line; compiled for tests only.
//!
//! `BLESS=1 cargo test --lib manual` updates the file.

use clap::{Arg, Command};

use super::args;
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
.SH FILES
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
.BR apachectl (8)
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
    leaves("", &command, &mut page);
    page + REST
}

fn leaves(path: &str, command: &Command, page: &mut String) {
    for below in command.get_subcommands() {
        let path = format!("{path} {}", below.get_name());
        if below.has_subcommands() {
            leaves(&path, below, page);
            continue;
        }
        let words = &below.clone().render_usage().to_string();
        let options = below.get_arguments();
        let options: String = options.filter(|arg| is_own(arg) && !arg.is_positional()).map(usage).collect();
        let words = words.rsplit_once("[options]").map_or("", |(_, words)| words);
        *page += &format!(".SS \\fB{}\\fR{options}\\fI{}\\fR\n", escaped(path.trim()), escaped(words));
        *page += &paragraph(&below.get_long_about().or(below.get_about()).unwrap().to_string());
        below.get_arguments().filter(|arg| !arg.is_hide_set() && is_own(arg)).for_each(|arg| *page += &option(arg));
        if let Some(more) = below.get_after_help() {
            *page += &format!(".PP\n.nf\n{}\n.fi\n", escaped(&more.to_string()));
        }
    }
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

#[test]
fn the_man_page_is_what_the_definitions_give() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/a2md.8");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == page(),
        "docs/a2md.8 differs from the definitions; `BLESS=1 cargo test --lib manual` updates it"
    );
}
