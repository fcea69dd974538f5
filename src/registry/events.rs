//! Events: what the administrator's commands are told of, and what is noted of it in the report.

use std::time::Duration;

use jiff::Timestamp;

use crate::acme::{PortError, SetUp};
use crate::cancel::Cancel;
use crate::exec::{Command, split_command_line};
use crate::log::report;
use crate::model::{Globals, Job, Status};

/// The problem that a failing `MDMessageCmd` is.
const MESSAGE_PROBLEM: &str = "urn:org:apache:httpd:log:AH10109:";

/// Something that happened to a domain.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A challenge is in place; the CA does not know yet.
    ChallengeSetUp(&'a SetUp),
}

/// Raises events by running the configured commands, one after the other, in the thread that raises them.
pub struct Events {
    message: Option<Hook>,
    cancel: Cancel,
}

/// A command that is run for events.
struct Hook {
    directive: &'static str,
    /// As configured.
    line: String,
    timeout: Duration,
}

impl Event<'_> {
    /// Its name for commands.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::ChallengeSetUp(set_up) => format!("challenge-setup:{}:{}", set_up.kind, set_up.name),
        }
    }
}

impl Events {
    /// With the commands of the configuration, which end when `cancel` says so.
    #[must_use]
    pub fn new(globals: &Globals, cancel: &Cancel) -> Self {
        let hook = |directive, line: &Option<String>| {
            line.clone().map(|line| Hook { directive, line, timeout: globals.cmd_timeout.events })
        };
        Self { message: hook("MDMessageCmd", &globals.message_command), cancel: cancel.clone() }
    }

    /// Tells `MDMessageCmd` of an event, with the name of the domain that `job` is the report on.
    ///
    /// # Errors
    /// If the command fails (AH10109); it is noted in the report. A command that ends since the server stops has failed too,
    /// but nothing is said of it.
    pub fn raise(&self, event: Event<'_>, job: &mut Job, now: Timestamp) -> Result<(), PortError> {
        let reason = event.reason();
        let Some(failure) = self.message.as_ref().and_then(|hook| hook.run(&reason, &job.name, &self.cancel).err())
        else {
            job.record(now, &format!("message-{reason}"), None, None);
            return Ok(());
        };
        if failure.status != Status::AGAIN {
            let activity = job.last.as_ref().and_then(|last| last.activity.as_ref());
            let activity = activity.map(|activity| format!(" while[{activity}]")).unwrap_or_default();
            report!(
                AH10109,
                failure.status;
                "md[{}]{activity} problem[{MESSAGE_PROBLEM}] detail[{failure}]", job.name
            );
            job.record(now, "message-error", Some(&reason), Some(&failure.text));
        }
        Err(failure)
    }
}

impl Hook {
    fn run(&self, reason: &str, name: &str, cancel: &Cancel) -> Result<(), PortError> {
        let mut argv = split_command_line(&self.line);
        argv.extend([reason.to_owned(), name.to_owned()]);
        let command = Command { argv, timeout: self.timeout, cancel: cancel.clone() };
        command.run(b"").map_err(|err| {
            let status = err.status();
            PortError { status, text: format!("{} {} {err}.", self.directive, self.line) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::ChallengeType;

    fn raise(line: Option<&str>, cancel: &Cancel) -> (Result<(), PortError>, Job) {
        let globals = Globals { message_command: line.map(str::to_owned), ..Globals::default() };
        let set_up = SetUp { kind: ChallengeType::Http01, name: "www.x.org".to_owned(), txt: None };
        let mut job = Job::new("x.org");
        let result =
            Events::new(&globals, cancel).raise(Event::ChallengeSetUp(&set_up), &mut job, Timestamp::UNIX_EPOCH);
        (result, job)
    }

    fn entry(job: &Job) -> Option<(&str, Option<&str>)> {
        let entry = job.log.as_ref()?.entries.first()?;
        Some((entry.kind.as_str(), entry.status.as_deref()))
    }

    #[test]
    fn the_command_gets_reason_and_name_and_success_is_noted() {
        for line in [None, Some(r#"/bin/sh -c 'test "$1 $2" = "challenge-setup:http-01:www.x.org x.org"' sh"#)] {
            let (result, job) = raise(line, &Cancel::default());
            result.unwrap();
            assert_eq!(entry(&job), Some(("message-challenge-setup:http-01:www.x.org", None)));
        }
    }

    #[test]
    fn a_failing_command_is_noted_once() {
        crate::registry::world::watch_log();
        let (result, job) = raise(Some("/bin/sh -c 'exit 17' events-test"), &Cancel::default());
        let failure = result.unwrap_err();
        assert_eq!(failure.text, "MDMessageCmd /bin/sh -c 'exit 17' events-test failed with exit code 17.");
        assert_eq!(failure.status, Status::GENERAL);
        assert_eq!(entry(&job), Some(("message-error", Some("challenge-setup:http-01:www.x.org"))));
        let words = "problem[urn:org:apache:httpd:log:AH10109:] detail[MDMessageCmd /bin/sh -c 'exit 17' events-test";
        assert_eq!(crate::registry::world::logged("AH10109", words), 1);
    }

    #[test]
    fn a_server_that_stops_is_no_failure_to_report() {
        let cancel = Cancel::default();
        cancel.cancel();
        let (result, job) = raise(Some("/bin/true"), &cancel);
        assert_eq!((result.unwrap_err().status, entry(&job)), (Status::AGAIN, None));
    }
}
