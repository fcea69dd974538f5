//! The output of the program: lines or one JSON document on stdout, messages and progress on stderr.

use std::io::{IsTerminal, Write};
use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use serde_json::{Value, json};

use super::progress;
use super::words::Colour;
use crate::crypto::Summary;
use crate::log::{self, Level, Record, Sink};
use crate::model::{JobResult, ManagedDomain, Status, Timestamp, outside};

/// Messages of a renewal that are wrong here: the server will retry (AH10057), a restart activates (AH10059).
const OF_THE_SERVER: [&str; 2] = ["AH10057", "AH10059"];

/// Ends a colour on a terminal.
const PLAIN: &str = "\x1b[0m";

/// The sink for messages, which writes to stderr.
struct Console;

static CONSOLE: Console = Console;
/// The least severe level that is printed.
static THRESHOLD: AtomicI32 = AtomicI32::new(Level::Info as i32);
/// Directives whose part an option of this run has, with the option.
static OPTIONS: OnceLock<Vec<(&str, &str)>> = OnceLock::new();

/// Receives the output of a run.
pub trait Terminal: Send + Sync {
    /// Begins to print messages of the log: `info` and more severe ones, and `more` levels below. Where one names a directive in
    /// `options`, the option beside it is named instead.
    fn listen(&self, more: i32, options: Vec<(&'static str, &'static str)>);
    /// Prints a line of the result.
    fn print(&self, line: &str);
    /// Prints a line of the result with a word in colour, if the terminal shows colours.
    fn print_coloured(&self, before: &str, colour: Colour, word: &str, after: &str);
    /// Prints a line for the person who runs the command.
    fn say(&self, line: &str);
    /// Prints a message with its level and result code.
    fn message(&self, level: Level, status: Status, text: &str);
    /// Returns whether the progress of renewals can be shown.
    fn has_spinner(&self) -> bool;
    /// Returns whether a person reads the messages, who wants sentences without codes.
    fn is_plain(&self) -> bool;
}

/// The streams of the process.
pub struct Streams;

impl Terminal for Streams {
    fn listen(&self, more: i32, options: Vec<(&'static str, &'static str)>) {
        let _ = OPTIONS.set(options);
        THRESHOLD.store(Level::Info as i32 + more, Ordering::Relaxed);
        log::install(Some(&CONSOLE));
    }

    /// Errors are ignored, as a reader such as `head` may have closed the pipe.
    fn print(&self, line: &str) {
        let _ = writeln!(std::io::stdout(), "{}", shown(line));
    }

    fn print_coloured(&self, before: &str, colour: Colour, word: &str, after: &str) {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if is_set("NO_COLOR") || is_dumb || !std::io::stdout().is_terminal() {
            return self.print(&format!("{before}{word}{after}"));
        }
        let (before, word, after) = (shown(before), shown(word), shown(after));
        let _ = writeln!(std::io::stdout(), "{before}{}{word}{PLAIN}{after}", colour.code());
    }

    fn say(&self, line: &str) {
        say(line);
    }

    fn message(&self, level: Level, status: Status, text: &str) {
        log::write(&Record { level, number: None, status, text: format_args!("{text}") });
    }

    fn has_spinner(&self) -> bool {
        std::io::stderr().is_terminal() && CONSOLE.enabled(Level::Info)
    }

    fn is_plain(&self) -> bool {
        std::io::stderr().is_terminal() && !CONSOLE.enabled(Level::Debug)
    }
}

impl Sink for Console {
    fn enabled(&self, level: Level) -> bool {
        level as i32 <= THRESHOLD.load(Ordering::Relaxed)
    }

    fn write(&self, record: &Record<'_>) {
        self.write_at(record, Location::caller());
    }

    /// Writes the message without its number, as the C module's a2md has none.
    fn write_at(&self, record: &Record<'_>, place: &Location<'_>) {
        if record.number.is_some_and(|number| OF_THE_SERVER.contains(&number)) {
            return;
        }
        let text = by_options(&record.text.to_string(), OPTIONS.get().map_or(&[], Vec::as_slice));
        if Streams.is_plain() {
            return say(&plain(record.level, &text));
        }
        let file = place.file().trim_start_matches("src/");
        say(&message(record.level, record.status, file, place.line(), &text));
    }
}

/// Formats a message as scripts know it: `[place][code(text)] message`, without the code if its text tells nothing, and the
/// text alone for `info` without a failure.
fn message(level: Level, status: Status, file: &str, line: u32, text: &str) -> String {
    let place = format!("{file}:{line} {}", level_name(level));
    match (status, status.text()) {
        (Status::OK, _) if level == Level::Info => text.to_owned(),
        (Status::OK, _) => format!("[{place}][ok] {text}"),
        (_, Some(reason)) => format!("[{place}][{}({reason})] {text}", status.0),
        (_, None) => format!("[{place}] {text}"),
    }
}

/// Formats a message for a person.
fn plain(level: Level, text: &str) -> String {
    match level {
        Level::Emergency | Level::Alert | Level::Critical | Level::Error => format!("Error: {text}"),
        Level::Warning => format!("Warning: {text}"),
        _ => text.to_owned(),
    }
}

/// Names the options of a run in place of the directives that would do the same.
fn by_options(text: &str, options: &[(&str, &str)]) -> String {
    options.iter().fold(text.to_owned(), |text, (directive, option)| {
        let mut parts = text.split(directive);
        let mut named = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            // `MDHttpProxyCACertificateFile` begins like `MDHttpProxy`.
            let is_longer = part.starts_with(|next: char| next.is_ascii_alphanumeric());
            named.push_str(if is_longer { directive } else { option });
            named.push_str(part);
        }
        named
    })
}

/// Formats a certificate, e.g. `P-256 serial 0A1B, valid until 2027-01-31 12:00`.
pub fn certificate(kind: &str, certificate: &Summary) -> String {
    format!("{kind} serial {}, valid until {}", certificate.serial_hex(), show(certificate.validity().1))
}

/// Formats a time, in UTC.
pub fn show(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Emergency => "emergency",
        Level::Alert => "alert",
        Level::Critical => "crit",
        Level::Error => "err",
        Level::Warning => "warning",
        Level::Notice => "notice",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace1 => "trace1",
        Level::Trace2 => "trace2",
    }
}

/// Makes the JSON document that a command ends with.
#[must_use]
pub fn envelope(output: &[Value], failure: Option<&JobResult>) -> Value {
    let mut document = json!({ "output": output, "status": failure.map_or(Status::OK, |failure| failure.status) });
    if let Some(failure) = failure {
        let detail = failure.detail.as_deref().unwrap_or_default();
        document["description"] = failure.status_description.as_deref().unwrap_or_else(|| first_part(detail)).into();
        document["problem"] = failure.problem.as_deref().into();
        document["detail"] = detail.into();
    }
    document
}

/// Returns a sentence without the advice after its first semicolon.
fn first_part(sentence: &str) -> &str {
    sentence.split("; ").next().unwrap_or_default()
}

/// Formats a domain as one line.
#[must_use]
pub fn domain_line(md: &ManagedDomain) -> String {
    let names: Vec<_> = md.domains.iter().map(AsRef::as_ref).collect();
    format!("md: {} [{}]", md.name, names.join(", "))
}

/// Returns what is written of a text, which may have several lines: files of the store, and what CAs say, may have characters that
/// a terminal obeys.
fn shown(text: &str) -> String {
    text.split('\n').map(outside::line).collect::<Vec<_>>().join("\n")
}

/// Writes a line to stderr, above the progress of renewals if that is shown.
fn say(line: &str) {
    progress::above(|| drop(writeln!(std::io::stderr(), "{}", shown(line.trim_end()))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DomainName;

    #[test]
    fn messages_have_the_form_that_scripts_know() {
        let rows = [
            (Level::Info, Status::OK, "hello"),
            (Level::Notice, Status::OK, "[a.rs:7 notice][ok] hello"),
            (Level::Info, Status::NOT_FOUND, "[a.rs:7 info][2(No such file or directory)] hello"),
            (Level::Error, Status(28), "[a.rs:7 err][28(No space left on device)] hello"),
            (Level::Warning, Status::GENERAL, "[a.rs:7 warning] hello"),
            (Level::Info, Status::BAD_ARGUMENT, "[a.rs:7 info] hello"),
        ];
        for (level, status, expected) in rows {
            assert_eq!(message(level, status, "a.rs", 7, "hello"), expected);
        }
    }

    #[test]
    fn people_get_sentences_that_name_their_options() {
        assert_eq!(plain(Level::Error, "no disk"), "Error: no disk");
        assert_eq!(plain(Level::Warning, "no disk"), "Warning: no disk");
        assert_eq!(plain(Level::Notice, "no disk"), "no disk");
        let options = [("MDHttpProxy", "-p"), ("MDCertificateAuthority", "-a")];
        for (text, expected) in [
            ("check MDCertificateAuthority", "check -a"),
            ("'MDHttpProxy none' and MDHttpProxy, and MDCAChallenges", "'-p none' and -p, and MDCAChallenges"),
            ("see MDHttpProxyCACertificateFile", "see MDHttpProxyCACertificateFile"),
            ("", ""),
        ] {
            assert_eq!(by_options(text, &options), expected);
        }
    }

    #[test]
    fn the_document_says_what_went_wrong_and_cuts_nothing() {
        assert_eq!(envelope(&[], None).to_string(), r#"{"output":[],"status":0}"#);
        let detail = "the name of an authority far away cannot be resolved: no such name; check that it is right";
        let rows = [
            (Status::GENERAL, "the name of an authority far away cannot be resolved: no such name"),
            (Status::NOT_FOUND, "No such file or directory"),
            (Status::TIMED_OUT, "The timeout specified has expired"),
        ];
        for (status, description) in rows {
            let document = envelope(&[], Some(&JobResult::failure(status, "p", detail.to_owned())));
            let expected = json!({
                "output": [], "status": status, "description": description, "problem": "p", "detail": detail
            });
            assert_eq!(document, expected);
        }
    }

    #[test]
    fn a_domain_is_a_line() {
        let names = ["a.org", "b.org"].map(|name| DomainName::parse(name).unwrap()).to_vec();
        assert_eq!(domain_line(&ManagedDomain::new(names).unwrap()), "md: a.org [a.org, b.org]");
    }

    #[test]
    fn levels_have_the_names_of_the_c_module() {
        let levels = [
            (Level::Emergency, "emergency"),
            (Level::Alert, "alert"),
            (Level::Critical, "crit"),
            (Level::Debug, "debug"),
            (Level::Trace1, "trace1"),
            (Level::Trace2, "trace2"),
        ];
        for (level, name) in levels {
            assert_eq!(message(level, Status::OK, "a.rs", 7, "x"), format!("[a.rs:7 {name}][ok] x"));
        }
    }

    #[test]
    fn certificates_and_times_are_short() {
        let time: Timestamp = "2027-01-31T12:34:56Z".parse().unwrap();
        assert_eq!(show(time), "2027-01-31 12:34");
        let key = crate::crypto::PrivateKey::generate(&crate::testing::p256()).unwrap();
        let names = [DomainName::parse("a.org").unwrap()];
        let leaf = crate::crypto::self_signed(&key, "a.org", &names, time, 1).unwrap();
        let expected = format!("P-256 serial {}, valid until 2027-02-01 12:34", leaf.summary().serial_hex());
        assert_eq!(certificate("P-256", &leaf.summary()), expected);
    }
}
