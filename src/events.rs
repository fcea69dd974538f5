//! Events: runs `MDNotifyCmd` and `MDMessageCmd`, limits how often, and records the result in the domain's job.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::acme::{ChallengeSetup, PortError};
use crate::cancel::Cancel;
use crate::counts::{CommandOutcome, Counts};
use crate::crypto::Summary;
use crate::exec::{Command, split_command_line};
use crate::log::{self, AH10108, AH10109, Message, Record, report};
use crate::model::{Globals, Job, JobResult, ManagedDomain, Status, time};
use crate::schedule;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Time for a command that was asked to end, including the log lines about it.
const TO_END: Duration = Duration::from_secs(5);

/// An event in the life of a domain.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A renewal is about to begin. A command that fails prevents it.
    Renewing,
    /// Challenge data is in place; the CA has not been told to validate it yet.
    ChallengeSetUp(&'a ChallengeSetup),
    /// Challenge data was removed.
    ChallengeTearDown(&'a ChallengeSetup),
    /// All certificates are staged. If the domain goes live, they are live already; else the next start activates them.
    Renewed,
    /// A start has activated staged certificates.
    Installed,
    /// New certificates are served from now on, without a start.
    Activated,
    /// A certificate expires soon, and there is no new one.
    Expiring,
    /// A renewal failed.
    Errored,
    /// There is a new OCSP response for a certificate.
    OcspRenewed,
    /// An OCSP response could not be fetched.
    OcspErrored,
    /// A certificate was found to be revoked.
    OcspRevoked,
}

/// The names of all events, without the challenge that one is about.
pub const EVENTS: [&str; Counts::EVENTS] = [
    "renewing",
    "challenge-setup",
    "challenge-teardown",
    "renewed",
    "installed",
    "activated",
    "expiring",
    "errored",
    "ocsp-renewed",
    "ocsp-errored",
    "ocsp-revoked",
];

/// The domain and the certificates that an event is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The domain.
    pub md: &'a ManagedDomain,
    /// Certificates of the domain: the new ones for `renewed`, otherwise the served ones.
    pub certificates: &'a [Option<Summary>],
}

/// Raises events by running the configured commands, one after the other, in the thread that raises them.
///
/// A process that winds down lets a running command finish, as this command may be what reloads the server. It starts no other
/// command, except for events that the next process would not raise.
pub struct Events {
    notify: Option<Hook>,
    message: Option<Hook>,
    /// `MDMessageEvents all`: whether commands get events that the C module does not have.
    all: bool,
    cancel: Cancel,
    /// Whether no command is run and nothing is recorded.
    silent: bool,
    /// Where commands are counted.
    counts: Option<&'static Counts>,
}

/// A command that is run for events.
struct Hook {
    directive: &'static str,
    number: Message,
    /// Kind of the job's log entry for a failure.
    entry: &'static str,
    /// The command line, as configured.
    line: String,
    timeout: Duration,
}

/// Input of a command for an event.
struct Call<'a> {
    /// Position of the event in [`EVENTS`].
    event: usize,
    arguments: &'a [&'a str],
    payload: &'a [u8],
    reason: &'a str,
}

/// The failure of an event's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFailure {
    /// Status code of the failure.
    pub status: Status,
    /// Problem type, e.g. `urn:org:apache:httpd:log:AH10109:`.
    pub problem: String,
    /// Description for log and status pages.
    pub text: String,
}

impl From<EventFailure> for PortError {
    fn from(err: EventFailure) -> Self {
        Self { status: err.status, text: err.text }
    }
}

impl EventFailure {
    fn cancelled() -> Self {
        let text = "no command is run for the event, as the server stops".to_owned();
        Self { status: Status::AGAIN, problem: String::new(), text }
    }

    /// Checks whether the cause is only that this process stops: the next process raises the event.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.status == Status::AGAIN
    }

    /// Converts the failure into the result of a job.
    #[must_use]
    pub fn to_result(&self) -> JobResult {
        JobResult::failure(self.status, self.problem.clone(), self.text.clone())
    }
}

impl Event<'_> {
    /// Name of the event, as commands get it.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        let name = EVENTS[self.position()];
        match self {
            Self::ChallengeSetUp(set_up) | Self::ChallengeTearDown(set_up) => {
                format!("{name}:{}:{}", set_up.kind, set_up.name).into()
            }
            _ => name.into(),
        }
    }

    /// Position of the event in [`EVENTS`].
    fn position(&self) -> usize {
        match self {
            Self::Renewing => 0,
            Self::ChallengeSetUp(_) => 1,
            Self::ChallengeTearDown(_) => 2,
            Self::Renewed => 3,
            Self::Installed => 4,
            Self::Activated => 5,
            Self::Expiring => 6,
            Self::Errored => 7,
            Self::OcspRenewed => 8,
            Self::OcspErrored => 9,
            Self::OcspRevoked => 10,
        }
    }

    /// Checks whether commands get the event without `MDMessageEvents all`: the C module has it, or no other event reports the
    /// fact.
    fn is_compatible(&self) -> bool {
        match self {
            Self::ChallengeTearDown(_) | Self::OcspRevoked => false,
            Self::Renewing | Self::ChallengeSetUp(_) | Self::Renewed | Self::Installed | Self::Activated => true,
            Self::Expiring | Self::Errored | Self::OcspRenewed | Self::OcspErrored => true,
        }
    }

    /// Checks whether the event is lost when the process that raises it ends, as the next process would not raise it.
    fn is_lost_at_exit(&self) -> bool {
        match self {
            Self::Renewed | Self::Activated => true,
            Self::Renewing | Self::ChallengeSetUp(_) | Self::ChallengeTearDown(_) | Self::Installed => false,
            Self::Expiring | Self::Errored | Self::OcspRenewed | Self::OcspErrored | Self::OcspRevoked => false,
        }
    }

    /// Returns how long the event is not raised again.
    fn pause(&self) -> Option<SignedDuration> {
        match self {
            Self::Renewing | Self::Errored | Self::OcspErrored => Some(HOUR),
            Self::Renewed | Self::Installed | Self::Expiring | Self::OcspRenewed | Self::OcspRevoked => Some(DAY),
            Self::ChallengeSetUp(_) | Self::ChallengeTearDown(_) | Self::Activated => None,
        }
    }

    /// Returns until when the event is not raised again, by the log of its domain's job; `None` if it may be raised now. An entry
    /// in the future comes from a wrong clock, and does not count.
    #[must_use]
    pub fn paused_until(&self, job: &Job, now: Timestamp) -> Option<Timestamp> {
        let raised = job.newest(&format!("message-{}", self.reason())).filter(|at| *at <= now)?;
        Some(raised + self.pause()?).filter(|until| *until > now)
    }

    /// Returns until when the event is not raised again, as [`Event::paused_until`] says; if its command has failed since, until
    /// the same delay is over as after so many failures of a renewal.
    #[must_use]
    pub fn not_before(&self, job: &Job, retry_delay: SignedDuration, now: Timestamp) -> Option<Timestamp> {
        let reason = self.reason();
        let entries = job.log.iter().flat_map(|log| &log.entries);
        let raised = format!("message-{reason}");
        let is_failure = |kind: &str| [AH10108_ENTRY, AH10109_ENTRY].contains(&kind);
        let since = entries.take_while(|entry| entry.kind != raised);
        let failed = since.filter(|entry| is_failure(&entry.kind) && entry.status.as_deref() == Some(&*reason));
        let failures: Vec<_> = failed.filter_map(|entry| entry.when).filter(|at| *at <= now).collect();
        let Some(last) = failures.first() else { return self.paused_until(job, now) };
        let count = failures.len().try_into().unwrap_or(u32::MAX);
        Some(*last + schedule::back_off(count, false, retry_delay, 0.5)).filter(|until| *until > now)
    }
}

const AH10108_ENTRY: &str = "notify-error";
const AH10109_ENTRY: &str = "message-error";

impl Events {
    /// Makes events with the commands of the configuration, which are ended when `cancel` is set.
    #[must_use]
    pub fn new(globals: &Globals, cancel: &Cancel) -> Self {
        let hook = |directive, number, entry, line: &Option<String>| {
            let timeout = globals.cmd_timeout.events;
            line.clone().map(|line| Hook { directive, number, entry, line, timeout })
        };
        Self {
            notify: hook("MDNotifyCmd", AH10108, AH10108_ENTRY, &globals.notify_command),
            message: hook("MDMessageCmd", AH10109, AH10109_ENTRY, &globals.message_command),
            all: globals.all_events,
            cancel: cancel.clone(),
            silent: false,
            counts: None,
        }
    }

    /// Counts the commands that are run.
    #[must_use]
    pub fn counted(self, counts: Option<&'static Counts>) -> Self {
        Self { counts, ..self }
    }

    /// Makes events for a program that runs no commands.
    #[must_use]
    pub fn silent() -> Self {
        Self { notify: None, message: None, all: false, cancel: Cancel::default(), silent: true, counts: None }
    }

    /// Checks whether a command is configured.
    #[must_use]
    pub fn has_commands(&self) -> bool {
        self.notify.is_some() || self.message.is_some()
    }

    /// Returns the longest time that an event takes: both commands run until their timeout and have to be killed.
    #[must_use]
    pub fn longest(&self) -> SignedDuration {
        let hooks = [&self.notify, &self.message].into_iter().flatten();
        let longest = hooks.map(|hook| hook.timeout + TO_END).sum::<Duration>();
        SignedDuration::try_from(longest).unwrap_or(DAY)
    }

    /// Runs the commands for an event, and records it in `job`, the domain's job. Without a command the event counts as
    /// raised. An event that was raised a short time ago is not raised again (AH10267).
    ///
    /// # Errors
    /// If a command fails (AH10108, AH10109), or is ended because the server stops (MD0060).
    pub fn raise(
        &self,
        event: Event<'_>,
        about: &About<'_>,
        job: &mut Job,
        now: Timestamp,
    ) -> Result<(), EventFailure> {
        if self.silent || !(self.all || event.is_compatible()) {
            return Ok(());
        }
        let name = about.md.name.as_str();
        let reason = &*event.reason();
        if let Some(until) = event.paused_until(job, now) {
            report!(AH10267, "{name}: event '{reason}' is not raised again before {}", time::format_gmt(until));
            return Ok(());
        }
        if self.has_commands() && self.cancel.is_cancelled() && !event.is_lost_at_exit() {
            return Err(EventFailure::cancelled());
        }
        let payload = if self.has_commands() { &*payload(event, about, job, now) } else { &[] };
        if matches!(event, Event::Renewed) {
            let call = Call { event: event.position(), arguments: &[name], payload, reason };
            self.run(self.notify.as_ref(), &call, job, now)?;
            // For a domain that goes live, MD0036 or MD0035 was logged instead.
            if !about.md.goes_live() {
                report!(
                    AH10059,
                    "The Managed Domain {name} has been setup and changes will be activated on next (graceful) server restart."
                );
            }
        }
        let call = Call { event: event.position(), arguments: &[reason, name], payload, reason };
        self.run(self.message.as_ref(), &call, job, now)?;
        job.record(now, &format!("message-{reason}"), None, None);
        Ok(())
    }

    fn run(&self, hook: Option<&Hook>, call: &Call<'_>, job: &mut Job, now: Timestamp) -> Result<(), EventFailure> {
        let Some(hook) = hook else { return Ok(()) };
        let reason = call.reason;
        let held = self.cancel.hold();
        let result = hook.run(call, &self.cancel.patient());
        drop(held);
        if let Some(counts) = self.counts {
            counts.add_command(call.event, outcome(&result));
        }
        let Err(mut failure) = result else { return Ok(()) };
        if failure.is_cancelled() {
            report!(
                MD0060,
                "{}: {} {} for event '{reason}' is ended early, as the server stops",
                job.name,
                hook.directive,
                hook.line
            );
        } else {
            if failure.status == Status::TIMED_OUT {
                failure.text = format!("{} The event was '{reason}'.", failure.text);
            }
            let activity = job.last.as_ref().and_then(|last| last.activity.clone());
            let line = JobResult { activity, ..failure.to_result() }.to_log(&job.name);
            let Message { number, level } = hook.number;
            log::write(&Record { level, number: Some(number), status: failure.status, text: format_args!("{line}") });
            job.record(now, hook.entry, Some(reason), Some(&failure.text));
        }
        Err(failure)
    }
}

impl Hook {
    fn run(&self, call: &Call<'_>, cancel: &Cancel) -> Result<(), EventFailure> {
        let mut argv = split_command_line(&self.line);
        argv.extend(call.arguments.iter().map(ToString::to_string));
        let command = Command { argv, timeout: self.timeout, cancel: cancel.clone() };
        command.run(call.payload).map_err(|err| EventFailure {
            status: err.status(),
            problem: format!("urn:org:apache:httpd:log:{}:", self.number.number),
            text: format!("{} {} {err}.", self.directive, self.line),
        })
    }
}

fn outcome(result: &Result<(), EventFailure>) -> CommandOutcome {
    match result {
        Ok(()) => CommandOutcome::Success,
        Err(failure) if failure.is_cancelled() => CommandOutcome::Interrupted,
        Err(failure) if failure.status == Status::TIMED_OUT => CommandOutcome::Timeout,
        Err(_) => CommandOutcome::Failure,
    }
}

/// Formats the event as one line of JSON, for the standard input of commands.
fn payload(event: Event<'_>, about: &About<'_>, job: &Job, now: Timestamp) -> Vec<u8> {
    let certificates: Vec<Value> = about.certificates.iter().flatten().map(certificate).collect();
    let names: Vec<&str> = about.md.domains.iter().map(AsRef::as_ref).collect();
    let mut payload = Map::new();
    let mut set = |name: &str, value: Value| payload.insert(name.to_owned(), value);
    set("event", event.reason().into());
    set("name", about.md.name.as_str().into());
    set("domains", names.into());
    set("when", time::format_gmt(now).into());
    set("errors", job.errors.into());
    if let Event::ChallengeSetUp(set_up) | Event::ChallengeTearDown(set_up) = event {
        let mut challenge = json!({ "type": set_up.kind.as_str(), "name": set_up.name });
        if let Some(txt) = &set_up.txt {
            challenge["txt"] = txt.as_str().into();
        }
        set("challenge", challenge);
    } else {
        set("certificates", certificates.into());
    }
    if let Some(next) = job.next_run {
        set("next-run", time::format_gmt(next).into());
    }
    if let Some(last) = &job.last {
        for (name, text) in [("activity", &last.activity), ("problem", &last.problem), ("detail", &last.detail)] {
            text.as_ref().map(|text| set(name, text.as_str().into()));
        }
    }
    format!("{}\n", Value::Object(payload)).into_bytes()
}

fn certificate(summary: &Summary) -> Value {
    let (from, until) = summary.validity();
    json!({
        "serial": summary.serial_hex(),
        "valid": { "from": time::format_gmt(from), "until": time::format_gmt(until) },
        "sha256-fingerprint": summary.sha256_fingerprint(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::ChallengeType;
    use crate::model::DomainName;
    use crate::testing::{logged, watch_log};

    fn set_up() -> ChallengeSetup {
        ChallengeSetup { kind: ChallengeType::Http01, name: "www.x.org".to_owned(), txt: None }
    }

    fn domain(name: &str) -> ManagedDomain {
        ManagedDomain::new(vec![DomainName::parse(name).unwrap()]).unwrap()
    }

    fn globals(notify: Option<&str>, message: Option<&str>) -> Globals {
        let [notify_command, message_command] = [notify, message].map(|line| line.map(str::to_owned));
        Globals { notify_command, message_command, ..Globals::default() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn raise(globals: &Globals, event: Event<'_>, job: &mut Job, now: Timestamp) -> Result<(), EventFailure> {
        let md = domain(&job.name);
        let about = About { md: &md, certificates: &[] };
        Events::new(globals, &Cancel::default()).raise(event, &about, job, now)
    }

    /// An entry of a job's log: time, kind and status.
    type Entries<'a> = &'a [(i64, &'a str, Option<&'a str>)];

    /// Returns a job with these log entries, newest first.
    fn job(entries: Entries<'_>) -> Job {
        let mut job = Job::new("x.org");
        entries.iter().rev().for_each(|(when, kind, status)| job.record(at(*when), kind, *status, None));
        job
    }

    fn entries(job: &Job) -> Vec<(&str, Option<&str>)> {
        let entries = job.log.iter().flat_map(|log| &log.entries);
        entries.map(|entry| (entry.kind.as_str(), entry.status.as_deref())).collect()
    }

    #[test]
    fn an_event_is_raised_once_within_its_pause() {
        let set_up = set_up();
        let rows = [
            (Event::Renewing, 3600),
            (Event::Errored, 3600),
            (Event::Renewed, 86400),
            (Event::Installed, 86400),
            (Event::Expiring, 86400),
            (Event::OcspRenewed, 86400),
            (Event::OcspErrored, 3600),
            (Event::OcspRevoked, 86400),
            (Event::ChallengeSetUp(&set_up), 0),
            (Event::ChallengeTearDown(&set_up), 0),
            (Event::Activated, 0),
        ];
        for (event, pause) in rows {
            let raised = format!("message-{}", event.reason());
            let known = job(&[(5, "progress", None), (0, &raised, None), (-9_999_999, &raised, None)]);
            for (seconds, expected) in [(0, pause > 0), (pause - 1, pause > 0), (pause, false), (-10, false)] {
                let until = event.paused_until(&known, at(seconds));
                assert_eq!(until, expected.then(|| at(pause)), "{raised} {seconds}");
            }
            assert_eq!(event.paused_until(&job(&[(0, "message-other", None)]), at(1)), None);
        }
    }

    #[test]
    fn a_failed_event_is_raised_again_after_growing_delays() {
        let failed = |when| (when, "message-error", Some("expiring"));
        let raised = |when| (when, "message-expiring", None);
        let rows: [(Entries<'_>, Option<i64>); 7] = [
            (&[], None),
            (&[failed(-10)], Some(20)),
            (&[failed(-10), failed(-50)], Some(50)),
            (&[failed(-10), failed(-50), raised(-90_000)], Some(50)),
            (&[failed(-200)], None),
            (&[raised(-10), failed(-50)], Some(86_390)),
            (&[(-10, "message-error", Some("errored"))], None),
        ];
        for (entries, expected) in rows {
            let base = SignedDuration::from_secs(30);
            assert_eq!(Event::Expiring.not_before(&job(entries), base, at(0)), expected.map(at), "{entries:?}");
        }
    }

    #[test]
    fn an_event_is_not_raised_again_within_its_pause() {
        watch_log();
        let globals = globals(None, Some("/bin/false"));
        let mut job = Job { name: "limited.events.test".to_owned(), ..job(&[(0, "message-errored", None)]) };
        raise(&globals, Event::Errored, &mut job, at(3599)).unwrap();
        assert_eq!((entries(&job).len(), logged("AH10267", "limited.events.test: event 'errored'")), (1, 1));
        raise(&globals, Event::Errored, &mut job, at(3600)).unwrap_err();
    }

    #[test]
    fn commands_get_their_arguments_and_success_is_recorded() {
        let set_up = set_up();
        let message = |reason: &str| format!(r#"/bin/sh -c 'test "$1 $2 $#" = "{reason} x.org 2"' sh"#);
        let notify = r#"/bin/sh -c 'test "$1 $2 $#" = "own x.org 2"' sh own"#;
        let rows = [
            (Event::ChallengeSetUp(&set_up), "challenge-setup:http-01:www.x.org"),
            (Event::ChallengeTearDown(&set_up), "challenge-teardown:http-01:www.x.org"),
            (Event::Renewing, "renewing"),
            (Event::Renewed, "renewed"),
            (Event::Installed, "installed"),
            (Event::Activated, "activated"),
            (Event::Expiring, "expiring"),
            (Event::Errored, "errored"),
            (Event::OcspRenewed, "ocsp-renewed"),
            (Event::OcspErrored, "ocsp-errored"),
            (Event::OcspRevoked, "ocsp-revoked"),
        ];
        for (event, reason) in rows {
            for globals in [globals(None, None), globals(Some(notify), Some(&message(reason)))] {
                let globals = Globals { all_events: true, ..globals };
                let mut job = Job::new("x.org");
                raise(&globals, event, &mut job, at(0)).unwrap();
                assert_eq!(entries(&job), [(format!("message-{reason}").as_str(), None)]);
            }
        }
    }

    #[test]
    fn events_that_the_c_module_does_not_have_need_to_be_configured() {
        let set_up = set_up();
        let globals = globals(None, Some("/bin/false"));
        let mut job = Job::new("x.org");
        for event in [Event::ChallengeTearDown(&set_up), Event::OcspRevoked] {
            raise(&globals, event, &mut job, at(0)).unwrap();
            raise(&Globals { all_events: true, ..globals.clone() }, event, &mut Job::new("x.org"), at(0)).unwrap_err();
        }
        assert_eq!(job, Job::new("x.org"));
        // No other event reports that a set is in use.
        raise(&globals, Event::Activated, &mut job, at(0)).unwrap_err();
    }

    #[test]
    fn a_process_that_winds_down_raises_only_events_that_would_be_lost() {
        let cancel = Cancel::default();
        cancel.wind_down();
        let md = domain("x.org");
        let mut job = Job::new("x.org");
        let about = About { md: &md, certificates: &[] };
        let events = Events::new(&globals(None, Some("/bin/true")), &cancel);
        assert!(events.raise(Event::Errored, &about, &mut job, at(0)).unwrap_err().is_cancelled());
        events.raise(Event::Renewed, &about, &mut job, at(0)).unwrap();
        assert_eq!((entries(&job), cancel.is_held()), (vec![("message-renewed", None)], false));
    }

    #[test]
    fn a_failing_command_is_recorded_once() {
        watch_log();
        let mut job = Job::new("x.org");
        let globals = globals(Some("/bin/false events-test"), Some("/bin/sh -c 'exit 17' events-test"));
        let failure = raise(&globals, Event::Expiring, &mut job, at(0)).unwrap_err();
        assert_eq!(failure.text, "MDMessageCmd /bin/sh -c 'exit 17' events-test failed with exit code 17.");
        assert_eq!(failure.status, Status::GENERAL);
        assert_eq!(entries(&job), [("message-error", Some("expiring"))]);
        let words = "problem[urn:org:apache:httpd:log:AH10109:] detail[MDMessageCmd /bin/sh -c 'exit 17' events-test";
        assert_eq!((logged("AH10109", words), logged("AH10108", "events-test")), (1, 0));
    }

    #[test]
    fn the_notify_command_runs_first_and_its_failure_stops_the_rest() {
        watch_log();
        let name = "first.events.test";
        let mut job = Job::new("first.events.test");
        let [good, bad] = ["/bin/true", "/bin/false first"];
        let failure = raise(&globals(Some(bad), Some(bad)), Event::Renewed, &mut job, at(0)).unwrap_err();
        assert_eq!(failure.to_result().problem.as_deref(), Some("urn:org:apache:httpd:log:AH10108:"));
        assert_eq!((entries(&job), logged("AH10059", name)), (vec![("notify-error", Some("renewed"))], 0));
        let failure = raise(&globals(Some(good), Some(bad)), Event::Renewed, &mut job, at(1)).unwrap_err();
        assert_eq!(failure.problem, "urn:org:apache:httpd:log:AH10109:");
        assert_eq!((entries(&job)[0], logged("AH10059", name)), (("message-error", Some("renewed")), 1));
        raise(&globals(Some(good), Some(good)), Event::Renewed, &mut job, at(2)).unwrap();
        assert_eq!((entries(&job)[0], logged("AH10059", name)), (("message-renewed", None), 2));
    }

    #[test]
    fn a_command_ended_by_a_stopping_server_is_no_failure() {
        let cancel = Cancel::default();
        cancel.cancel();
        let md = domain("x.org");
        let mut job = Job::new("x.org");
        let about = About { md: &md, certificates: &[] };
        let events = Events::new(&globals(None, Some("/bin/true")), &cancel);
        assert!(events.raise(Event::Errored, &about, &mut job, at(0)).unwrap_err().is_cancelled());
        Events::silent().raise(Event::Errored, &about, &mut job, at(0)).unwrap();
        assert_eq!(job, Job::new("x.org"));
    }

    #[test]
    fn the_event_is_on_standard_input_and_need_not_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("payload");
        let line = format!("/bin/sh -c 'cat >{}'", file.display());
        let set_up = set_up();
        let mut job = Job { errors: 3, next_run: Some(at(60)), ..Job::new("x.org") };
        job.last = Some(JobResult::failure(Status::GENERAL, "urn:p", "it is \"so\"".to_owned()));
        let mut read = |event| -> Value {
            raise(&globals(None, Some(&line)), event, &mut job, at(0)).unwrap();
            serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()
        };
        let expected = json!({
            "event": "errored", "name": "x.org", "domains": ["x.org"], "when": time::format_gmt(at(0)), "errors": 3,
            "certificates": [], "next-run": time::format_gmt(at(60)), "problem": "urn:p", "detail": "it is \"so\"",
        });
        assert_eq!(read(Event::Errored), expected);
        let challenge = read(Event::ChallengeSetUp(&set_up));
        assert_eq!(challenge["challenge"], json!({ "type": "http-01", "name": "www.x.org" }));
        assert_eq!(challenge.get("certificates"), None);
    }
}
