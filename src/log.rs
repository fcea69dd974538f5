//! Messages for the administrator: levels, the table of numbers, and the sink that the server or a2md installs.
#![forbid(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::sync::RwLock;

use crate::model::Status;

/// The severity, as httpd and syslog order it. Error: the administrator must act; warning: retried; notice: lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are syslog's")]
pub enum Level {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
    Trace1,
    Trace2,
}

/// A message on its way to the sink.
pub struct Record<'a> {
    /// Severity.
    pub level: Level,
    /// Number in the server's log, e.g. `AH10056` or `MD0001`.
    pub number: Option<&'static str>,
    /// Result code that the message is about; [`Status::OK`] for none.
    pub status: Status,
    /// The sentence, one line.
    pub text: fmt::Arguments<'a>,
}

/// A sink for messages. Any thread may call it; it must not log by itself.
pub trait Sink: Send + Sync {
    /// Whether messages of this level would be written.
    fn enabled(&self, level: Level) -> bool;
    /// Writes the message.
    fn write(&self, record: &Record<'_>);
    /// Writes the message with the place in the sources that it comes from.
    fn write_at(&self, record: &Record<'_>, _place: &Location<'_>) {
        self.write(record);
    }
}

/// A numbered message: its number and its severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Number in the log, kept for good.
    pub number: &'static str,
    /// Severity.
    pub level: Level,
}

static SINK: RwLock<Option<&'static dyn Sink>> = RwLock::new(None);

/// Installs `sink` as the receiver of all messages; `None` discards them.
pub fn install(sink: Option<&'static dyn Sink>) {
    *SINK.write().unwrap_or_else(std::sync::PoisonError::into_inner) = sink;
}

/// Sends a message to the installed sink, if that takes its level.
#[track_caller]
pub fn write(record: &Record<'_>) {
    let sink = *SINK.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(sink) = sink.filter(|sink| sink.enabled(record.level)) {
        sink.write_at(record, Location::caller());
    }
}

/// The longest text of a message in the server's log, in bytes: httpd cuts a line at 8192, with the end of its format.
const LONGEST_LINE: usize = 7000;

/// Returns a text as the server's log can have it in any ErrorLogFormat, JSON too. httpd escapes backslashes, line breaks and tabs
/// as JSON does, but leaves double quotes as they are, and writes all other bytes in a way that JSON does not know.
#[must_use]
pub fn line_of_log(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => line.push('\''),
            '\n' | '\r' | '\t' | ' '..='~' => line.push(c),
            c if c.is_ascii() => line.push(' '),
            c => line += &format!("<U+{:04X}>", u32::from(c)),
        }
    }
    let mut length = 0;
    let fits = |byte: &u8| {
        length += if matches!(byte, b'\\' | b'\n' | b'\r' | b'\t') { 2 } else { 1 };
        length <= LONGEST_LINE
    };
    let end = line.bytes().take_while(fits).count();
    if end < line.len() {
        line.truncate(end);
        line += " ...";
    }
    line
}

/// Logs a numbered message: `report!(AH10056, status, "processing {name}: {detail}")`; the status may be left out.
macro_rules! report {
    ($number:ident, $status:expr; $($text:tt)+) => {
        $crate::log::write(&$crate::log::Record {
            level: $crate::log::$number.level,
            number: Some($crate::log::$number.number),
            status: $status,
            text: format_args!($($text)+),
        })
    };
    ($number:ident, $($text:tt)+) => {
        $crate::log::report!($number, $crate::model::Status::OK; $($text)+)
    };
}

/// Logs a message without a number: `note!(Debug, "...")`, or `note!(Warning, status; "...")`.
macro_rules! note {
    ($level:ident, $status:expr; $($text:tt)+) => {
        $crate::log::write(&$crate::log::Record {
            level: $crate::log::Level::$level,
            number: None,
            status: $status,
            text: format_args!($($text)+),
        })
    };
    ($level:ident, $($text:tt)+) => {
        $crate::log::note!($level, $crate::model::Status::OK; $($text)+)
    };
}

pub(crate) use {note, report};

macro_rules! messages {
    ($($number:ident $level:ident $doc:literal)+) => {
        $(#[doc = $doc] pub const $number: Message = Message { number: stringify!($number), level: Level::$level };)+

        /// Every numbered message with what it says.
        pub const MESSAGES: &[(Message, &str)] = &[$(($number, $doc)),+];
    };
}

messages! {
    AH10037 Debug "reachability by http and https is known"
    AH10038 Error "two managed domains have a name in common"
    AH10039 Debug "settings of a managed domain are complete"
    AH10040 Warning "a manual domain does not have a name of its virtual host"
    AH10041 Debug "a managed domain belongs to a virtual host"
    AH10042 Error "a TLS host has more than one managed domain"
    AH10044 Debug "contact taken from MDContactEmail of a virtual host"
    AH10045 Warning "a managed domain has no virtual host"
    AH10046 Error "the store cannot be opened"
    AH10047 Error "the directories of the store cannot be made"
    AH10052 Debug "the renewal of a domain runs"
    AH10054 Debug "the renewal watchdog starts"
    AH10055 Debug "the renewal watchdog runs"
    AH10056 Error "a renewal failed"
    AH10057 Info "error count and next attempt of a failed renewal"
    AH10058 Debug "the renewal watchdog stops"
    AH10059 Notice "a domain was renewed, a restart activates the certificates"
    AH10060 Info "a command denied that a renewal begins"
    AH10061 Critical "mod_watchdog is missing"
    AH10064 Notice "a renewal with errors starts over at a server start"
    AH10066 Critical "mod_watchdog has no watchdog for us"
    AH10067 Critical "mod_watchdog does not take our callback"
    AH10068 Info "staged certificates are active"
    AH10069 Error "staged certificates are unusable and dropped"
    AH10070 Trace1 "first pass of the configuration"
    AH10071 Info "second pass of the configuration, with our version"
    AH10073 Error "a managed domain cannot be synchronised with the store"
    AH10074 Debug "number of managed domains that are watched"
    AH10075 Debug "no managed domain is to be watched"
    AH10077 Debug "certificates are provided for a virtual host"
    AH10080 Info "a tls-alpn-01 connection is for a name without a challenge"
    AH10081 Error "challenge data cannot be read"
    AH10082 Error "a directory of the store cannot be given to the server's user"
    AH10084 Debug "a virtual host has other certificates too"
    AH10105 Warning "https is required, but no TLS host has the domain"
    AH10107 Debug "when the renewal watchdog runs next"
    AH10108 Error "MDNotifyCmd failed"
    AH10109 Error "MDMessageCmd failed"
    AH10110 Error "certificates of a domain cannot be read"
    AH10113 Debug "certificates of a virtual host are asked for"
    AH10116 Debug "a placeholder certificate is provided"
    AH10168 Debug "a name has no https server"
    AH10169 Debug "acme-tls/1 is not enabled for a name"
    AH10170 Error "numbers of certificate and key files differ"
    AH10171 Error "key files without certificate files"
    AH10172 Error "a managed domain cannot be saved"
    AH10173 Error "a managed domain cannot be renewed as configured"
    AH10174 Error "a placeholder certificate cannot be made"
    AH10197 Debug "the OCSP watchdog starts"
    AH10198 Debug "the OCSP watchdog runs"
    AH10199 Debug "when the OCSP watchdog runs next"
    AH10200 Debug "the OCSP watchdog stops"
    AH10201 Critical "mod_watchdog is missing, OCSP responses are not fetched"
    AH10202 Critical "mod_watchdog has no watchdog for OCSP"
    AH10203 Critical "mod_watchdog does not take our callback for OCSP"
    AH10237 Debug "contact taken from ServerAdmin of a virtual host"
    AH10238 Error "a TLS host with several managed domains asks for certificates"
    AH10267 Debug "an event was notified already, and is not notified again so soon"
    AH10268 Error "a certificate to be stapled cannot be read"
    AH10269 Error "a certificate to be stapled comes without its issuer"
    AH10398 Error "the lock of the store is not obtained"
    AH10500 Debug "a domain is renewed because OCSP says that its certificate is revoked"
    AH10512 Debug "a domain is renewed because its window has opened"
    AH10513 Debug "whether the CA's renewal information counts for a domain"
    AH10514 Debug "the CA's time for a renewal is not the earlier one, or there is none"
    AH10515 Notice "when the CA wants a domain to be renewed, with the URL of its reasons"
    AH10516 Debug "when the CA wants a domain to be renewed"
    AH10517 Notice "the CA wants a domain to be renewed now, with the URL of its reasons"
    AH10518 Debug "the CA wants a domain to be renewed now"
    MD0001 Critical "a panic inside the module was caught"
    MD0002 Error "the server passed no pointer where it promises one"
    MD0003 Info "threads were still at work when a child ended"
    MD0005 Warning "a managed domain has more names than a CA puts into one certificate"
    MD0006 Warning "a managed domain has names for which no public CA issues certificates"
    MD0007 Notice "a host of a managed domain has certificate files of its own"
    MD0008 Warning "another running server uses the same store"
    MD0009 Warning "the secret of the store is lost, and with it accounts and renewals"
    MD0016 Warning "a CA failed too often, the next attempt is at another one"
    MD0017 Warning "a CA that is configured has closed"
    MD0018 Notice "certificates came from a CA that is no longer configured, and are renewed"
    MD0019 Warning "a CA wants fewer requests, renewals wait"
    MD0020 Warning "the CA does not offer the configured profile, and orders are placed without it"
    MD0021 Warning "a CA's renewal information cannot be used"
    MD0023 Warning "an account takes the place of one that was given up"
    MD0027 Warning "the record that a command set up for a challenge may still be there"
    MD0028 Warning "a file of the store cannot be written, moved or removed, and nothing depends on it now"
    MD0030 Warning "a certificate is revoked"
    MD0031 Warning "an OCSP response cannot be fetched"
    MD0032 Warning "a stored OCSP response cannot be used"
    MD0033 Warning "a certificate must be stapled, but gets no staple"
    MD0034 Warning "children do not learn of new OCSP responses"
    MD0035 Warning "a set that is to be served without a restart cannot be used"
    MD0036 Notice "new certificates are served without a restart"
    MD0037 Warning "new certificates wait for a staple before they are served"
    MD0038 Error "the server does not restart itself, as it would not start again"
    MD0039 Warning "MDActivation does not fit the certificates or the server"
    MD0040 Error "a TLS host does not permit a certificate that went live"
    MD0041 Warning "a set that was put into domains/ cannot be served"
    MD0044 Notice "a TXT record must be in the DNS permanently"
    MD0046 Warning "a CA has no chain of certificates to the root that is preferred"
    MD0047 Notice "the key of an account was changed beside the server"
    MD0048 Error "a CA does not fit the protocol of its domain"
    MD0055 Error "a TLS host has neither a certificate nor a managed domain, while a managed domain has no host"
    MD0056 Warning "clients do not reach a host by a name of its managed domain that is written in another way"
    MD0058 Notice "a domain was renewed by another server, or by a2md"
    MD0060 Warning "a command was ended because the server stops"
    MD0061 Warning "a command that is configured cannot be executed"
    MD0062 Notice "requests go through a proxy"
    MD0070 Warning "MDContactEmail is no address that a CA can use"
    MD0080 Warning "a CA is asked over http, without TLS"
    MD0085 Warning "certificates went live that this server has not obtained, and MDStoreLocks does not say that there are others"
    MD0090 Error "OpenSSL cannot read a certificate at the first handshake"
    MD0091 Notice "an account was registered"
    MD0092 Warning "the terms of a CA are not agreed to"
    MD0093 Warning "MDCAChallenges has a type of challenges that is not known"
    MD0094 Warning "a file of certificates to trust does not exist"
    MD0100 Warning "MDCertificateAgreement is neither 'accepted' nor a URL"
    MD0101 Warning "what holds private keys belongs to another user than root"
    MD0102 Warning "the server's user may not enter the store"
    MD0103 Notice "a new store was made"
    MD0104 Warning "a managed domain has names that no name of a host can be"
    MD0105 Warning "a managed domain has a host at the port for https, but none with TLS"
    MD0106 Warning "the command for dns-01 cannot be run"
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// Sources whose double quotes reach no log: the manual page, zone files, a page, a stored document.
    const WITH_QUOTES: [&str; 4] = ["cli/manual.rs", "cli/persist.rs", "status/html.rs", "store/file_store.rs"];

    /// Returns the sources in and below a directory, without their tests.
    fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
        let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let paths =
            paths.filter(|path| !["testing", "tests", "tests.rs", "suite.rs"].iter().any(|name| path.ends_with(name)));
        let read = |path: PathBuf| {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
            vec![(path, text)]
        };
        paths.flat_map(|path| if path.is_dir() { sources(&path) } else { read(path) }).collect()
    }

    #[test]
    fn our_own_texts_have_no_double_quotes() {
        let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        assert!(sources.len() > 100, "sources: {}", sources.len());
        for (path, text) in sources {
            let is_exempt = WITH_QUOTES.iter().any(|exempt| path.ends_with(exempt));
            let found = text.lines().find(|line| line.contains("\\\"") || line.contains("r#\""));
            assert!(is_exempt || found.is_none(), "{}: {found:?}", path.display());
        }
    }

    #[test]
    fn a_line_stays_one_string_of_json() {
        let rows = [
            ("processing a.org: 'no'", "processing a.org: 'no'"),
            ("said \"no\" to C:\\x", "said 'no' to C:\\x"),
            ("one\ntwo\tthree\r", "one\ntwo\tthree\r"),
            ("a\0b\x1b[1mc\x0bd\x7f", "a b [1mc d "),
            ("r\u{e9}fus\u{e9} \u{1f600}", "r<U+00E9>fus<U+00E9> <U+1F600>"),
        ];
        for (text, expected) in rows {
            assert_eq!(line_of_log(text), expected);
        }
        assert_eq!(line_of_log(&"x".repeat(LONGEST_LINE)).len(), LONGEST_LINE);
        assert_eq!(line_of_log(&"x".repeat(1 << 20)), "x".repeat(LONGEST_LINE) + " ...");
        assert_eq!(line_of_log(&"\\".repeat(LONGEST_LINE)), "\\".repeat(LONGEST_LINE / 2) + " ...");
    }

    #[test]
    fn numbers_are_unique_and_in_order() {
        assert!(MESSAGES.windows(2).all(|pair| pair[0].0.number < pair[1].0.number));
    }
}
