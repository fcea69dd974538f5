//! Restarts that the server makes itself (`MDActivation graceful`): the parent's memory from one check to the next, and the
//! files whose change makes another test worth while. The steps are those of [`crate::registry::self_restart`].

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::registry::self_restart::{Known, Step, Trial};

/// The time that a test may take: reading a large configuration takes seconds, a command for pass phrases may hang.
pub const LONGEST: Duration = Duration::from_secs(300);
/// Names of directives that begin so name a certificate, a key or a chain.
const CERTIFICATE: &str = "SSLCertificate";

/// The object of a test: how many requests for a restart there were, and the state of the files of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The number of requests.
    pub requests: u32,
    /// The digest of the files.
    pub files: u64,
}

/// The parent's memory of tests and restarts, for one configuration.
#[derive(Debug, Default)]
pub struct Memory {
    /// The number of requests that are done with: by the start of this configuration, or by a restart that begins.
    done: u32,
    trial: Trial,
    /// The last test that ended without a restart: when, and its object.
    tested: Option<(Timestamp, Subject)>,
    /// The last wait that the log has.
    logged: Option<Step>,
}

impl Memory {
    /// Begins after a start that has seen to this many requests.
    #[must_use]
    pub fn new(done: u32) -> Self {
        Self { done, ..Self::default() }
    }

    /// Returns the facts that the next step depends on. `files` computes the digest of the files, only if it matters.
    pub fn known(&self, requests: u32, restarted: Option<Timestamp>, files: impl FnOnce() -> u64) -> Known {
        let is_wanted = requests != self.done;
        let differs = |(_, subject): (_, Subject)| subject != Subject { requests, files: files() };
        Known {
            is_wanted,
            has_news: is_wanted && self.tested.is_some_and(differs),
            restarted,
            tested: self.tested.map(|(at, _)| at),
        }
    }

    /// Takes the result of the last test, which counts once.
    pub fn take_trial(&mut self) -> Trial {
        std::mem::take(&mut self.trial)
    }

    /// Checks whether the log has yet to say that the server waits.
    pub fn is_news(&mut self, step: &Step) -> bool {
        let is_news = self.logged.as_ref() != Some(step);
        self.logged = Some(step.clone());
        is_news
    }

    /// Notes that a restart begins, which does what was asked for until now.
    pub fn restarts(&mut self, requests: u32) {
        self.done = requests;
    }

    /// Notes the result of a test.
    pub fn tested(&mut self, trial: Trial, subject: Subject, now: Timestamp) {
        if matches!(trial, Trial::Pointless | Trial::Failed(_)) {
            self.tested = Some((now, subject));
        }
        self.trial = trial;
    }
}

/// Circumstances of the end of a test, which the test itself does not know.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// The test took longer than it may.
    pub is_late: bool,
    /// A file of the configuration has changed since the test began.
    pub has_changed: bool,
    /// Certificates that other servers have activated wait for a restart of this one.
    pub waits_for_others: bool,
}

impl End {
    /// Returns what the result of a test is worth.
    #[must_use]
    pub fn weigh(self, judged: Trial) -> Trial {
        match judged {
            Trial::Failed(words) if self.is_late => {
                Trial::Failed(format!("the test of the configuration took longer than {LONGEST:?}: {words}"))
            }
            // A restart might read another configuration.
            Trial::Passed if self.has_changed => Trial::None,
            // The test cannot know what this server uses.
            Trial::Pointless if self.waits_for_others => Trial::Passed,
            judged => judged,
        }
    }
}

/// The files that a configuration was read from, the directories that they are in, and files of certificates.
#[derive(Debug, Default)]
pub struct Files(BTreeSet<PathBuf>);

/// Facts by which a change of a file is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// The number of the inode.
    pub inode: u64,
    /// The size in bytes.
    pub size: u64,
    /// When the content changed, in seconds.
    pub changed: i64,
    /// The nanoseconds of that time.
    pub changed_nanos: i64,
}

impl Files {
    /// Adds the files of a directive: where it stands, and what it names.
    pub fn add(&mut self, file: Option<&str>, directive: Option<&str>, value: Option<&str>) {
        if let Some(file) = file.map(Path::new).filter(|file| !self.0.contains(*file)) {
            self.0.extend([Some(file), file.parent()].into_iter().flatten().map(Path::to_owned));
        }
        let start = directive.and_then(|name| name.get(..CERTIFICATE.len()));
        if start.is_some_and(|start| start.eq_ignore_ascii_case(CERTIFICATE)) {
            self.0.extend(value.map(|value| PathBuf::from(value.trim_matches('"'))));
        }
    }

    /// Returns a number that changes when one of the files does, comes or goes.
    pub fn digest(&self, state: impl Fn(&Path) -> Option<State>) -> u64 {
        let mut hasher = DefaultHasher::new();
        for file in &self.0 {
            (file, state(file)).hash(&mut hasher);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject = Subject { requests: 3, files: 7 };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn failed(words: &str) -> Trial {
        Trial::Failed(words.to_owned())
    }

    #[test]
    fn a_request_is_wanted_until_a_restart_begins() {
        let mut memory = Memory::new(2);
        let known = |memory: &Memory, requests| memory.known(requests, None, || panic!("nothing was tested"));
        assert_eq!(known(&memory, 2), Known::default());
        assert_eq!(known(&memory, 3), Known { is_wanted: true, ..Known::default() });
        memory.restarts(3);
        assert_eq!(known(&memory, 3), Known::default());
    }

    #[test]
    fn another_request_or_another_file_is_news_after_a_test() {
        let rows = [(3, 7, false), (4, 7, true), (3, 8, true)];
        for (requests, files, expected) in rows {
            let mut memory = Memory::new(2);
            memory.tested(failed("syntax error"), SUBJECT, at(9));
            let known = memory.known(requests, Some(at(5)), || files);
            assert_eq!(
                known,
                Known { is_wanted: true, has_news: expected, restarted: Some(at(5)), tested: Some(at(9)) }
            );
        }
    }

    #[test]
    fn files_are_left_alone_while_no_restart_is_wanted() {
        let mut memory = Memory::new(3);
        memory.tested(Trial::Pointless, SUBJECT, at(9));
        assert!(!memory.known(3, None, || panic!("looked at files")).has_news);
    }

    #[test]
    fn a_result_counts_once_and_only_a_bad_one_is_remembered() {
        for (trial, is_kept) in
            [(failed("x"), true), (Trial::Pointless, true), (Trial::Passed, false), (Trial::None, false)]
        {
            let mut memory = Memory::new(2);
            memory.tested(trial.clone(), SUBJECT, at(9));
            assert_eq!((memory.take_trial(), memory.take_trial()), (trial, Trial::None));
            assert_eq!(memory.known(3, None, || 7).tested, is_kept.then(|| at(9)));
        }
    }

    #[test]
    fn the_log_has_each_wait_once() {
        let mut memory = Memory::default();
        let steps = [
            Step::WaitForHours,
            Step::WaitForHours,
            Step::WaitUntil(at(5)),
            Step::WaitUntil(at(6)),
            Step::WaitForHours,
        ];
        assert_eq!(steps.map(|step| memory.is_news(&step)), [true, false, true, true, true]);
    }

    #[test]
    fn the_end_of_a_test_changes_what_it_is_worth() {
        let late = "the test of the configuration took longer than 300s: killed";
        let rows = [
            (failed("killed"), [false, false, false], failed("killed")),
            (failed("killed"), [true, false, false], failed(late)),
            (Trial::Passed, [false, false, false], Trial::Passed),
            (Trial::Passed, [true, false, false], Trial::Passed),
            (Trial::Passed, [false, true, false], Trial::None),
            (Trial::Pointless, [false, true, false], Trial::Pointless),
            (Trial::Pointless, [false, false, true], Trial::Passed),
        ];
        for (judged, [is_late, has_changed, waits_for_others], expected) in rows {
            let end = End { is_late, has_changed, waits_for_others };
            assert_eq!(end.weigh(judged.clone()), expected, "{judged:?} {end:?}");
        }
    }

    #[test]
    fn files_of_the_configuration_and_of_certificates_are_watched() {
        let mut files = Files::default();
        files.add(Some("/etc/httpd.conf"), Some("ServerName"), Some("a.org"));
        files.add(Some("/etc/httpd.conf"), Some("SSLCertificateFile"), Some("\"/tls/a b.pem\""));
        files.add(Some("/etc/sites/a.conf"), Some("sslcertificatekeyfile"), Some("/tls/a.key"));
        files.add(None, Some("SSLEngine"), None);
        files.add(None, None, Some("/not/a/directive"));
        let paths = ["/etc", "/etc/httpd.conf", "/etc/sites", "/etc/sites/a.conf", "/tls/a b.pem", "/tls/a.key"];
        assert_eq!(files.0, paths.map(PathBuf::from).into());
    }

    #[test]
    fn the_digest_changes_with_each_file_and_with_nothing_else() {
        let mut files = Files::default();
        files.add(Some("/etc/httpd.conf"), None, None);
        const STATE: State = State { inode: 1, size: 2, changed: 3, changed_nanos: 4 };
        let digest = |changed: &str, state: Option<State>| {
            files.digest(|path| if path == Path::new(changed) { state } else { Some(STATE) })
        };
        let before = digest("", None);
        assert_eq!(before, digest("/etc/httpd.conf", Some(STATE)));
        let changes = [
            Some(State { inode: 9, ..STATE }),
            Some(State { size: 9, ..STATE }),
            Some(State { changed: 9, ..STATE }),
            Some(State { changed_nanos: 9, ..STATE }),
            None,
        ];
        for (file, change) in
            ["/etc", "/etc/httpd.conf"].into_iter().flat_map(|file| changes.map(|change| (file, change)))
        {
            assert_ne!(before, digest(file, change), "{file} {change:?}");
        }
    }
}
