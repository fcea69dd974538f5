//! Decides when the server restarts itself (`MDActivation graceful`), as pure functions of what the parent process knows.
//!
//! The child process that renews requests a restart by a counter in shared memory. The parent does not trust its children: it
//! first has another process test the configuration and check whether a start would activate anything
//! ([`Setup::would_activate`]).
//!
//! [`Setup::would_activate`]: crate::registry::start::Setup::would_activate

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::crypto::Summary;
use crate::log::report;
use crate::model::{ActivationMode, DailyWindow, Globals, ManagedDomain, format_human};
use crate::registry::domain::Domain;
use crate::schedule::SHORT_LIFE;

/// The definition (`-D`) that tells a process to only test the configuration, for a server that is about to restart.
pub const TRIAL_DEFINE: &str = "MD_RS_TRIAL";
/// Exit code of a test if the server would start and activate something.
pub const WOULD_ACTIVATE: i32 = 0;
/// Exit code of a test if the server would not start, and of httpd itself if the configuration has errors.
pub const WOULD_NOT_START: i32 = 1;
/// Exit code of a test if a start would activate nothing. Not the number of a signal: the parent cannot tell an exit code from a
/// signal.
pub const WOULD_DO_NOTHING: i32 = 99;

/// Arguments of a test in addition to those of the server. The log is limited to errors, as only the beginning of the output is
/// kept; mutexes are of a kind that leaves nothing behind, as a test ends without cleaning up.
const OF_A_TRIAL: [&str; 7] = ["-t", "-D", TRIAL_DEFINE, "-c", "LogLevel error", "-c", "Mutex fcntl default"];
/// Shortest time between a failed test and the next one, for new certificates or a changed configuration.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// Lines of a test's output that are logged.
const MOST_LINES: usize = 4;
/// A warning that httpd may print about any configuration, and which is never the reason of a failure.
const NO_REASON: &str = "Could not reliably determine the server's fully qualified domain name";
const MOST_CHARACTERS: usize = 800;

/// Requests of child processes to their parent. Each process has one value.
#[derive(Debug, Default)]
pub struct Requests {
    counter: OnceLock<&'static AtomicU32>,
    /// Fingerprints that this process has requested a restart for, by position of the domain, so that it does so once.
    asked: Mutex<HashMap<usize, Vec<String>>>,
}

impl Requests {
    /// Sets the counter that all processes share, and that is never reset. Called once, before the first fork.
    pub fn share(&self, counter: &'static AtomicU32) {
        // The first counter stays, as other processes may have been forked with it.
        let _ = self.counter.set(counter);
    }

    /// Requests a restart of the server for the domain at `position` and the certificates with these fingerprints. Returns
    /// `false` if that was requested before, or there is no counter.
    pub fn ask(&self, position: usize, certificates: Vec<String>) -> bool {
        let Some(counter) = self.counter.get() else { return false };
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.get(&position) == Some(&certificates) {
            return false;
        }
        asked.insert(position, certificates);
        counter.fetch_add(1, Ordering::Release);
        true
    }

    /// Returns the number of requests of all processes of the server.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.counter.get().map_or(0, |counter| counter.load(Ordering::Acquire))
    }
}

/// How often and in which hours the server may restart itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    interval: SignedDuration,
    window: Option<DailyWindow>,
}

/// State of the configuration test before a restart, without which a server with a broken configuration would end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trial {
    /// No test since the last step.
    #[default]
    None,
    /// The test is running.
    Running,
    /// The server would start.
    Passed,
    /// The server would start, but activate nothing.
    Pointless,
    /// The server would not start, for this reason.
    Failed(String),
}

/// State of the parent process that decides about a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Whether certificates wait for a restart.
    pub is_wanted: bool,
    /// Whether other certificates wait, or the configuration has changed, since the last test.
    pub has_news: bool,
    /// When the server last restarted itself.
    pub restarted: Option<Timestamp>,
    /// When a test last ended without a restart.
    pub tested: Option<Timestamp>,
}

/// The next action of the parent process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Does nothing now.
    Rest,
    /// Waits until this time.
    WaitUntil(Timestamp),
    /// Waits for the hours in which the server may restart.
    WaitForHours,
    /// Tests the configuration.
    Try,
    /// Restarts the server.
    Restart,
    /// Drops the request, as a restart would activate nothing.
    Forget,
    /// Logs why the server does not restart.
    Complain(String),
}

impl Rule {
    /// Takes the rule from the configuration.
    #[must_use]
    pub fn new(globals: &Globals) -> Self {
        Self { interval: globals.activation_interval, window: globals.activation_window }
    }

    /// Returns the next step. `minute` is that of the local day at `now`.
    #[must_use]
    pub fn next(&self, trial: Trial, known: &Known, now: Timestamp, minute: u16) -> Step {
        match (trial, self.not_before(known, now)) {
            (Trial::Failed(reason), _) => Step::Complain(reason),
            (Trial::Pointless, _) => Step::Forget,
            (Trial::Running, _) => Step::Rest,
            _ if !known.is_wanted => Step::Rest,
            _ if self.window.is_some_and(|window| !window.contains(minute)) => Step::WaitForHours,
            (Trial::Passed, _) => Step::Restart,
            (Trial::None, Some(at)) => Step::WaitUntil(at),
            (Trial::None, None) => Step::Try,
        }
    }

    /// Returns when the next test may begin, if not now. A restart or test in the future was noted by a wrong clock and is
    /// ignored.
    fn not_before(&self, known: &Known, now: Timestamp) -> Option<Timestamp> {
        let pause = if known.has_news { self.interval.min(PAUSE) } else { self.interval };
        let after = |at: Option<Timestamp>, delay| at.filter(|at| *at <= now)?.checked_add(delay).ok();
        let times = [after(known.restarted, self.interval), after(known.tested, pause)];
        times.into_iter().flatten().max().filter(|at| *at > now)
    }

    /// Returns the time between two tests of the configuration if nothing changes (`MDActivationInterval`).
    #[must_use]
    pub fn interval(&self) -> SignedDuration {
        self.interval
    }
}

impl Domain {
    /// Checks whether the server restarts itself for new certificates of the domain.
    #[must_use]
    pub fn restarts(&self) -> bool {
        self.watched && restarts(&self.md)
    }

    /// Returns a warning if certificates of the domain expire sooner than the administrator is likely to restart the server, with
    /// the remedy. Log lines put the domain's name before it.
    #[must_use]
    pub fn activation_warning(&self) -> Option<String> {
        if self.md.activation != ActivationMode::Restart || !self.renewable() || self.md.is_static() {
            return None;
        }
        let served = self.served();
        let life = |certificate: &Summary| certificate.validity().1.duration_since(certificate.validity().0);
        let shortest = served.certificates.iter().flatten().map(life).min().filter(|life| *life < SHORT_LIFE)?;
        Some(format!(
            "certificates are valid for only {}, and new ones wait for a restart; restart the server gracefully more often than \
             every {}, or set MDActivation to live or graceful",
            format_human(rounded(shortest)),
            interval(shortest / 2)
        ))
    }
}

/// Rounds a duration to hours, unless it is shorter than one.
fn rounded(time: SignedDuration) -> SignedDuration {
    let hours = SignedDuration::from_hours((time.as_secs() + 1800) / 3600);
    if time < SignedDuration::from_hours(1) { time } else { hours }
}

/// Describes an interval by the largest unit that it has, rounded down, e.g. `3 days` or `day`.
fn interval(time: SignedDuration) -> String {
    let units = [("day", 86400), ("hour", 3600), ("minute", 60)];
    let fitting = units.into_iter().find(|(_, size)| time.as_secs() >= *size);
    match fitting.map_or((1, "minute"), |(unit, size)| (time.as_secs() / size, unit)) {
        (1, unit) => unit.to_owned(),
        (count, unit) => format!("{count} {unit}s"),
    }
}

/// Warns of domains whose certificates may expire before the next restart of the server.
pub(crate) fn advise(domains: &[Domain]) {
    let mut warned = domains.iter().filter_map(|domain| Some((&domain.md.name, domain.activation_warning()?)));
    let Some((first, warning)) = warned.next() else { return };
    match warned.count() {
        0 => report!(MD0039, "{first}: {warning}"),
        others => report!(MD0039, "{first} and {others} more domains: {warning}"),
    }
}

/// Checks whether the server restarts itself for a domain: not for one with `MDCertificateFile`, whose certificates the
/// administrator renews.
pub(crate) fn restarts(md: &ManagedDomain) -> bool {
    md.activation == ActivationMode::Graceful && !md.is_static()
}

/// Returns the arguments of a process that tests the configuration of this one, whose arguments are `server`, the program's name
/// first. Options that signal a running server (`-k`), or are for a start only (`-E`, `-X`), are left out.
#[must_use]
pub fn trial_arguments(server: &[OsString]) -> Vec<OsString> {
    let mut arguments = Vec::with_capacity(server.len() + OF_A_TRIAL.len());
    let mut rest = server.iter().skip(1);
    while let Some(argument) = rest.next() {
        let option = argument.as_encoded_bytes();
        // An option's value is the next argument, or the rest of the same one.
        let value = if option.len() == 2 && has_value(option[1]) { rest.next() } else { None };
        if !matches!(option, [b'-', b'k' | b'E' | b'X', ..]) {
            arguments.push(argument.clone());
            arguments.extend(value.cloned());
        }
    }
    arguments.extend(OF_A_TRIAL.map(OsString::from));
    arguments
}

/// Checks whether an option of httpd has a value.
fn has_value(option: u8) -> bool {
    matches!(option, b'C' | b'c' | b'D' | b'd' | b'E' | b'e' | b'f' | b'k')
}

/// Returns the result of a test that ended with this exit code, or by the signal of this number, and printed `written`.
#[must_use]
pub fn judge(code: i32, written: &[u8]) -> Trial {
    match code {
        WOULD_ACTIVATE => Trial::Passed,
        WOULD_DO_NOTHING => Trial::Pointless,
        _ => Trial::Failed(
            first_lines(written).unwrap_or_else(|| format!("the test ended with {code} and wrote nothing")),
        ),
    }
}

/// Joins the first relevant lines of a test's output into one.
fn first_lines(written: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(written);
    let lines = text.lines().map(message).filter(|line| !line.is_empty() && !line.contains(NO_REASON));
    let mut joined = lines.take(MOST_LINES).collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = joined.char_indices().nth(MOST_CHARACTERS) {
        joined.replace_range(end.., "...");
    }
    (!joined.is_empty()).then_some(joined)
}

/// Strips time, module and process from a log line.
fn message(line: &str) -> &str {
    let mut rest = line.trim();
    while let Some((_, after)) = rest.strip_prefix('[').and_then(|inner| inner.split_once("] ")) {
        rest = after.trim_start();
    }
    rest
}

#[cfg(test)]
mod tests;
