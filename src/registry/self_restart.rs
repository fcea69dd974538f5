//! When the server restarts itself (`MDActivation graceful`): who asks for it, and what the parent makes of that, as functions of
//! what it knows.
//!
//! The child that renews asks, by a counter in memory that all processes share. The parent, which does not believe children,
//! has another process try the configuration first, and look whether a start would activate anything ([`Setup::would_activate`]).
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

/// The definition (`-D`) by which a process knows that it only tries the configuration for a server that wants to restart.
pub const TRIAL_DEFINE: &str = "MD_RS_TRIAL";
/// How it ends if the server would start again and activate something.
pub const WOULD_ACTIVATE: i32 = 0;
/// How it ends if the server would not start. httpd itself ends so if the configuration has errors.
pub const WOULD_NOT_START: i32 = 1;
/// How it ends if a start would activate nothing. Not the number of a signal: who waits for the process cannot tell these apart.
pub const WOULD_DO_NOTHING: i32 = 99;

/// What the test has beside the server's arguments. Of its log only errors, as what it writes is kept in part; and mutexes that
/// leave nothing behind, as it ends without clean-ups.
const OF_A_TRIAL: [&str; 7] = ["-t", "-D", TRIAL_DEFINE, "-c", "LogLevel error", "-c", "Mutex fcntl default"];
/// What does not wait for [`Rule`]'s interval after a test that failed waits so long.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// How much of what the test wrote is told.
const MOST_LINES: usize = 4;
/// What httpd may say of any configuration before all else.
const NO_REASON: &str = "Could not reliably determine the server's fully qualified domain name";
const MOST_CHARACTERS: usize = 800;

/// What children ask the parent for. One of these is in each process.
#[derive(Debug, Default)]
pub struct Requests {
    counter: OnceLock<&'static AtomicU32>,
    /// What this process has asked for, by position of the domain, so that it asks once.
    asked: Mutex<HashMap<usize, Vec<String>>>,
}

impl Requests {
    /// Has all processes share this counter, which nobody ever resets. Called once, before the first fork.
    pub fn share(&self, counter: &'static AtomicU32) {
        // The first stays: others may have been forked with it.
        let _ = self.counter.set(counter);
    }

    /// Asks the parent to restart the server, for the domain at `position` and the certificates with these fingerprints. Returns
    /// whether that is new, and there is somebody to hear it.
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

    /// How often all processes of the server have asked.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.counter.get().map_or(0, |counter| counter.load(Ordering::Acquire))
    }
}

/// How often, and in which hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    interval: SignedDuration,
    window: Option<DailyWindow>,
}

/// The test of the configuration that goes before a restart: a server that restarts with a broken one ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trial {
    /// None since the last step.
    #[default]
    None,
    /// It runs.
    Running,
    /// The server would start.
    Passed,
    /// It would, and activate nothing.
    Pointless,
    /// It would not, for this reason.
    Failed(String),
}

/// What the parent knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Something waits for a restart.
    pub is_wanted: bool,
    /// Since the last test something else waits, or the configuration has changed.
    pub has_news: bool,
    /// When the server last restarted itself.
    pub restarted: Option<Timestamp>,
    /// When a test last ended without a restart.
    pub tested: Option<Timestamp>,
}

/// What the parent does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing now.
    Rest,
    /// Nothing until then.
    WaitUntil(Timestamp),
    /// Nothing until the hours in which it may restart.
    WaitForHours,
    /// Tests the configuration.
    Try,
    /// Restarts.
    Restart,
    /// Nothing, as the test was for nothing.
    Forget,
    /// Tells why it does not restart.
    Complain(String),
}

impl Rule {
    /// As configured.
    #[must_use]
    pub fn new(globals: &Globals) -> Self {
        Self { interval: globals.activation_interval, window: globals.activation_window }
    }

    /// The next step. `minute` is that of the local day at `now`.
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

    /// When the next test may be, if that is not now. What lies in the future was done by a wrong clock.
    fn not_before(&self, known: &Known, now: Timestamp) -> Option<Timestamp> {
        let pause = if known.has_news { self.interval.min(PAUSE) } else { self.interval };
        let after = |at: Option<Timestamp>, delay| at.filter(|at| *at <= now)?.checked_add(delay).ok();
        let times = [after(known.restarted, self.interval), after(known.tested, pause)];
        times.into_iter().flatten().max().filter(|at| *at > now)
    }

    /// How long the server waits until it tests the configuration again, if nothing changes.
    #[must_use]
    pub fn interval(&self) -> SignedDuration {
        self.interval
    }
}

impl Domain {
    /// Whether the server restarts itself for new certificates of the domain.
    #[must_use]
    pub fn restarts(&self) -> bool {
        self.watched && restarts(&self.md)
    }

    /// What to tell the administrator about the way in which new certificates of this domain come into use, if anything: a word
    /// on its certificates and what to do, to follow its name.
    #[must_use]
    pub fn activation_warning(&self) -> Option<String> {
        if self.md.activation != ActivationMode::Restart || !self.renewable() || self.md.is_static() {
            return None;
        }
        let served = self.served();
        let life = |certificate: &Summary| certificate.validity().1.duration_since(certificate.validity().0);
        let shortest = served.certificates.iter().flatten().map(life).min().filter(|life| *life < SHORT_LIFE)?;
        Some(format!(
            "certificates are valid for only {}, and new ones wait for a restart; restart the server gracefully every day, \
             or set MDActivation to live or graceful",
            format_human(rounded(shortest))
        ))
    }
}

/// To hours, if it is longer than one.
fn rounded(time: SignedDuration) -> SignedDuration {
    let hours = SignedDuration::from_hours((time.as_secs() + 1800) / 3600);
    if time < SignedDuration::from_hours(1) { time } else { hours }
}

/// Warns of domains whose certificates end before somebody may have restarted the server.
pub(crate) fn advise(domains: &[Domain]) {
    let mut warned = domains.iter().filter_map(|domain| Some((&domain.md.name, domain.activation_warning()?)));
    let Some((first, warning)) = warned.next() else { return };
    match warned.count() {
        0 => report!(MD0039, "{first}: {warning}"),
        others => report!(MD0039, "{first} and {others} more domains: {warning}"),
    }
}

/// Files of the administrator are his to look after.
pub(crate) fn restarts(md: &ManagedDomain) -> bool {
    md.activation == ActivationMode::Graceful && !md.is_static()
}

/// The arguments of a process that tries the configuration which this one was started with, whose arguments are `own`, the
/// program's name first. Signals to a running server and what concerns only a start are left out.
#[must_use]
pub fn trial_arguments(own: &[OsString]) -> Vec<OsString> {
    let mut arguments = Vec::with_capacity(own.len() + OF_A_TRIAL.len());
    let mut rest = own.iter().skip(1);
    while let Some(argument) = rest.next() {
        let option = argument.as_encoded_bytes();
        // An option's value follows it, or stands in the same word.
        let value = if option.len() == 2 && has_value(option[1]) { rest.next() } else { None };
        if !matches!(option, [b'-', b'k' | b'E' | b'X', ..]) {
            arguments.push(argument.clone());
            arguments.extend(value.cloned());
        }
    }
    arguments.extend(OF_A_TRIAL.map(OsString::from));
    arguments
}

/// Options of httpd that have a value.
fn has_value(option: u8) -> bool {
    matches!(option, b'C' | b'c' | b'D' | b'd' | b'E' | b'e' | b'f' | b'k')
}

/// What became of a test that has ended with this code, or by the signal of that number, and has written this.
#[must_use]
pub fn judge(code: i32, written: &[u8]) -> Trial {
    match code {
        WOULD_ACTIVATE => Trial::Passed,
        WOULD_DO_NOTHING => Trial::Pointless,
        _ => Trial::Failed(words(written).unwrap_or_else(|| format!("the test ended with {code} and wrote nothing"))),
    }
}

/// The first lines that matter, in one.
fn words(written: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(written);
    let lines = text.lines().map(message).filter(|line| !line.is_empty() && !line.contains(NO_REASON));
    let mut words = lines.take(MOST_LINES).collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(MOST_CHARACTERS) {
        words.replace_range(end.., "...");
    }
    (!words.is_empty()).then_some(words)
}

/// A line of the log without time, module and process.
fn message(line: &str) -> &str {
    let mut rest = line.trim();
    while let Some((_, after)) = rest.strip_prefix('[').and_then(|inner| inner.split_once("] ")) {
        rest = after.trim_start();
    }
    rest
}

#[cfg(test)]
mod tests;
