//! When the server restarts itself (`MDActivation graceful`): who asks for it, and what the parent makes of that, as functions of
//! what it knows.
//!
//! The child that renews asks, by a counter in memory that all processes share. The parent, which does not believe children,
//! has another process try the configuration first, and look whether a start would activate anything ([`Setup::would_activate`]).
//!
//! [`Setup::would_activate`]: super::Setup::would_activate

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::schedule::SHORT_LIFE;
use super::{Entry, Setup, activation};
use crate::crypto::Summary;
use crate::log::report;
use crate::model::{ActivationMode, DailyWindow, Globals, ManagedDomain, format_human};

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
    asked: Mutex<HashMap<usize, Vec<[u8; 20]>>>,
}

impl Requests {
    /// Has all processes share this counter, which nobody ever resets. Called once, before the first fork.
    pub fn share(&self, counter: &'static AtomicU32) {
        // The first stays: others may have been forked with it.
        let _ = self.counter.set(counter);
    }

    /// Asks the parent to restart the server, for the domain at `position` and the certificates with these fingerprints. Returns
    /// whether that is new, and there is somebody to hear it.
    pub fn ask(&self, position: usize, certificates: Vec<[u8; 20]>) -> bool {
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

impl Setup {
    /// Whether a start would activate something for which the server restarts itself.
    #[must_use]
    pub fn would_activate(&self) -> bool {
        let now = self.clock.now();
        let is_ready =
            |md: &ManagedDomain| activation::verdict(&self.vault, md, now) == activation::Activation::Activated;
        self.domains.iter().any(|md| restarts(md) && is_ready(md))
    }
}

impl Entry {
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
            "its certificates live {}, and new ones wait for a restart: restart the server gracefully every day, or set \
             MDActivation to live or graceful",
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
pub(super) fn advise(entries: &[Entry]) {
    let mut warned = entries.iter().filter_map(|entry| Some((&entry.md.name, entry.activation_warning()?)));
    let Some((first, warning)) = warned.next() else { return };
    match warned.count() {
        0 => report!(MD0039, "{first}: {warning}"),
        others => report!(MD0039, "{first}, and {others} more: {warning}"),
    }
}

/// Files of the administrator are his to look after.
fn restarts(md: &ManagedDomain) -> bool {
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
        _ => Trial::Failed(words(written).unwrap_or_else(|| format!("the test ended with {code}, without a word"))),
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
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Settings;
    use crate::registry::world::{World, logged, p256, watch_log};
    use crate::registry::{Registry, Renewals, Start};
    use crate::store::{Aspect, Group, Store as _};

    const NOON: u16 = 12 * 60;

    #[test]
    fn a_restart_is_tested_first_and_neither_too_often_nor_outside_of_the_hours() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let ago = |minutes| Some(now - SignedDuration::from_mins(minutes));
        let at = |minutes| Step::WaitUntil(now + SignedDuration::from_mins(minutes));
        let none = Known::default();
        let wanted = Known { is_wanted: true, ..none };
        let restarted = |minutes| Known { restarted: ago(minutes), ..wanted };
        let tested = |minutes| Known { tested: ago(minutes), ..wanted };
        let news = |minutes| Known { has_news: true, ..tested(minutes) };
        let failed = || Trial::Failed("broken".to_owned());
        let complaint = || Step::Complain("broken".to_owned());
        // An hour between restarts, from 11:00 to 13:00.
        let rows = [
            (Trial::None, none, NOON, Step::Rest),
            (Trial::None, wanted, NOON, Step::Try),
            (Trial::None, wanted, 13 * 60, Step::WaitForHours),
            (Trial::None, restarted(59), NOON, at(1)),
            (Trial::None, restarted(60), NOON, Step::Try),
            // By a clock that was wrong.
            (Trial::None, restarted(-60), NOON, Step::Try),
            (Trial::None, restarted(600), 13 * 60, Step::WaitForHours),
            (Trial::None, tested(59), NOON, at(1)),
            (Trial::None, tested(60), NOON, Step::Try),
            (Trial::None, news(0), NOON, at(1)),
            (Trial::None, news(1), NOON, Step::Try),
            (Trial::None, news(1), 0, Step::WaitForHours),
            (Trial::None, Known { restarted: ago(50), ..news(1) }, NOON, at(10)),
            (Trial::Running, wanted, NOON, Step::Rest),
            (Trial::Passed, restarted(600), NOON, Step::Restart),
            // The test took longer than the hours lasted, or somebody else has restarted the server.
            (Trial::Passed, restarted(600), 13 * 60, Step::WaitForHours),
            (Trial::Passed, none, NOON, Step::Rest),
            (Trial::Pointless, wanted, NOON, Step::Forget),
            (failed(), wanted, NOON, complaint()),
            (failed(), wanted, 0, complaint()),
            (failed(), none, NOON, complaint()),
        ];
        let globals = Globals { activation_window: DailyWindow::parse("11:00-13:00").ok(), ..Globals::default() };
        for (trial, known, minute, step) in rows {
            let text = format!("{trial:?} {known:?} {minute}");
            assert_eq!(Rule::new(&globals).next(trial, &known, now, minute), step, "{text}");
        }
        let always = Rule::new(&Globals { activation_interval: SignedDuration::from_secs(2), ..Globals::default() });
        assert_eq!(always.next(Trial::None, &wanted, now, 0), Step::Try);
        let soon = Step::WaitUntil(now + SignedDuration::from_secs(2));
        assert_eq!(always.next(Trial::None, &news(0), now, 0), soon, "the interval is shorter than the pause");
    }

    #[test]
    fn the_test_gets_the_arguments_of_the_server_but_not_what_they_do_to_it() {
        let rows: [(&[&str], &[&str]); 7] = [
            (&["httpd"], &[]),
            (&["/usr/sbin/apache2", "-k", "start"], &[]),
            (
                &["httpd", "-d", "../root", "-f", "conf/my own.conf", "-D", "FOREGROUND"],
                &["-d", "../root", "-f", "conf/my own.conf", "-D", "FOREGROUND"],
            ),
            (&["httpd", "-DFOREGROUND", "-fx.conf", "-kstart", "-Estart.log", "-X"], &["-DFOREGROUND", "-fx.conf"]),
            (&["httpd", "-C", "Define k", "-c", "-k", "-T"], &["-C", "Define k", "-c", "-k", "-T"]),
            (&["httpd", "-E", "-k", "-e", "debug", "-k", "restart", "-D", "X"], &["-e", "debug", "-D", "X"]),
            (&["httpd", "-f"], &["-f"]),
        ];
        for (own, kept) in rows {
            let own: Vec<OsString> = own.iter().map(OsString::from).collect();
            let expected: Vec<OsString> = kept.iter().chain(&OF_A_TRIAL).map(OsString::from).collect();
            assert_eq!(trial_arguments(&own), expected);
        }
    }

    #[test]
    fn a_failed_test_is_told_in_its_first_words() {
        let long = "x".repeat(2000);
        let rows: [(i32, &str, &str); 6] = [
            (
                1,
                "AH1: Syntax error on line 3 of /c:\nInvalid command 'Foo', perhaps misspelled\n",
                "AH1: Syntax error on line 3 of /c: Invalid command 'Foo', perhaps misspelled",
            ),
            (
                1,
                "AH2: httpd: Could not reliably determine the server's fully qualified domain name, using 127.0.0.1\n\n[Mon Nov 23 15:00:00 2026] [ssl:emerg] [pid 1:tid 2] AH3: Failed to configure\nSSL Library Error: error:0A [hint]\n",
                "AH3: Failed to configure SSL Library Error: error:0A [hint]",
            ),
            (1, "1\n2\n3\n4\n5\n6", "1 2 3 4"),
            (11, "", "the test ended with 11, without a word"),
            (9, "\n  \n", "the test ended with 9, without a word"),
            (1, &long, &format!("{}...", &long[..800])),
        ];
        for (code, written, text) in rows {
            assert_eq!(judge(code, written.as_bytes()), Trial::Failed(text.to_owned()));
        }
        assert_eq!(judge(0, b"Syntax OK"), Trial::Passed);
        assert_eq!(judge(99, b""), Trial::Pointless);
        assert!(matches!(judge(1, b"\xff\xfe"), Trial::Failed(_)));
    }

    fn world(name: &str, mode: ActivationMode) -> World {
        let mut world = World::new(&[name]);
        world.declared[0].settings.activation = Some(mode);
        world
    }

    /// A server that has started, with a parent to ask.
    struct Server<'w>(&'w World, Arc<Registry>, Renewals);

    impl<'w> Server<'w> {
        fn start(world: &'w World) -> Self {
            let (registry, ca) = (world.start_moving(true, |_| {}), Arc::clone(&world.ca));
            registry.restarts.share(Box::leak(Box::default()));
            Self(
                world,
                Arc::clone(&registry),
                Renewals::new(registry, Box::new(move |_, _| Arc::clone(&ca) as _), || 0.5),
            )
        }

        /// Does what is due. Tells how often the parent was asked in all.
        fn asks(&self) -> u32 {
            self.0.go_on(&self.2);
            self.1.restarts.count()
        }
    }

    /// What the test of a configuration says.
    fn would_activate(world: &World) -> bool {
        let start = Start {
            declared: world.declared.clone(),
            main: Settings::default(),
            globals: world.globals.clone(),
            hosts: world.hosts.clone(),
            is_restart: false,
            read_only: true,
        };
        Setup::begin(start, Arc::clone(&world.vault), Arc::clone(&world.clock) as _).unwrap().would_activate()
    }

    #[test]
    fn a_renewal_asks_once_when_its_certificates_can_be_used() {
        watch_log();
        let name = "asks.test";
        let mut world = world(name, ActivationMode::Graceful);
        assert!(!would_activate(&world));
        let server = Server::start(&world);
        let told = || logged("", "asks.test: its new certificates wait for the server to restart itself");
        assert_eq!((server.asks(), told(), would_activate(&world)), (1, 1, true));
        assert!(world.store.exists(Group::Staging, name, &Aspect::MdJson), "a test moves nothing");
        world.clock.advance(SignedDuration::from_hours(48));
        assert_eq!((server.asks(), told()), (1, 1), "nothing is new");
        assert_eq!((Server::start(&world).asks(), would_activate(&world)), (0, false), "it is served");

        world.globals.activation_delay = SignedDuration::from_hours(10);
        world.clock.advance(SignedDuration::from_hours(24 * 61));
        let server = Server::start(&world);
        assert_eq!(server.asks(), 0, "MDActivationDelay");
        world.clock.advance(SignedDuration::from_hours(5));
        assert_eq!(server.asks(), 0);
        world.clock.advance(SignedDuration::from_hours(6));
        assert_eq!((server.asks(), told()), (1, 2));
        // It was asked for and did not happen.
        world.put(Group::Staging, name, &Aspect::PrivateKey(p256()), "no key");
        assert!(!would_activate(&world));
    }

    #[test]
    fn only_domains_that_want_it_ask() {
        for mode in [ActivationMode::Restart, ActivationMode::Live] {
            let world = world("silent.test", mode);
            assert_eq!((Server::start(&world).asks(), would_activate(&world)), (0, false), "{mode:?}");
            assert!(world.staged_job("silent.test").finished);
        }
        let mut world = world("files.test", ActivationMode::Graceful);
        world.declared[0].settings.cert_files = vec!["/none.pem".to_owned()];
        world.declared[0].settings.key_files = vec!["/none.key".to_owned()];
        assert!(!world.start(true).entries[0].restarts(), "it is the administrator who renews these");
    }

    #[test]
    fn certificates_that_live_shortly_are_a_reason_not_to_wait_for_restarts() {
        watch_log();
        for (days, mode, is_warned) in [
            (6, ActivationMode::Restart, true),
            (6, ActivationMode::Live, false),
            (6, ActivationMode::Graceful, false),
            (9, ActivationMode::Restart, true),
            (10, ActivationMode::Restart, false),
            (90, ActivationMode::Restart, false),
        ] {
            let name = format!("life-{days}-{mode:?}.test").to_lowercase();
            let world = world(&name, mode);
            world.ca.behave(|ca| ca.days = days);
            let registry = world.start(true);
            assert_eq!(registry.entries[0].activation_warning(), None, "there is no certificate");
            drop(world.run(true));
            let registry = world.start(true);
            let warning = registry.entries[0].activation_warning();
            assert_eq!((warning.is_some(), logged("MD0039", &name)), (is_warned, usize::from(is_warned)), "{name}");
            if let Some(warning) = warning {
                assert!(
                    warning.starts_with(&format!("its certificates live {days} days, and new ones wait")),
                    "{warning}"
                );
            }
        }
    }

    #[test]
    fn domains_with_short_lives_are_warned_of_in_one_line() {
        watch_log();
        let world = World::new(&["one.lives.test", "two.lives.test", "three.lives.test"]);
        world.ca.behave(|ca| ca.days = 6);
        drop(world.run(true));
        drop(world.start(true));
        assert_eq!(logged("MD0039", "one.lives.test, and 2 more: its certificates live 6 days"), 1);
    }
}
