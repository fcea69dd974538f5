//! When the server restarts itself (`MDActivation graceful`): the decision, as a function of what the parent knows.

use jiff::{SignedDuration, Timestamp};

use crate::model::{DailyWindow, Globals};

/// How often, and in which hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    interval: SignedDuration,
    window: Option<DailyWindow>,
}

/// The test of the configuration that goes before a restart: a server that restarts with a broken one ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// None since the last step.
    None,
    /// It runs.
    Running,
    /// The server would start.
    Passed,
    /// It would not, for this reason.
    Failed(String),
}

/// What the parent does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing now.
    Rest,
    /// Tests the configuration.
    Try,
    /// Restarts.
    Restart,
    /// Tells why it does not restart. It tries again after the interval.
    Complain(String),
}

impl Rule {
    /// As configured.
    #[must_use]
    pub fn new(globals: &Globals) -> Self {
        Self { interval: globals.activation_interval, window: globals.activation_window }
    }

    /// The next step. `wanted` tells whether something waits for a restart, `last` is when the server last restarted itself, or
    /// complained. `minute` is that of the local day at `now`.
    #[must_use]
    pub fn next(&self, trial: Trial, wanted: bool, last: Option<Timestamp>, now: Timestamp, minute: u16) -> Step {
        let is_open = wanted && self.window.is_none_or(|window| window.contains(minute));
        match trial {
            Trial::Failed(reason) => Step::Complain(reason),
            Trial::Passed if is_open => Step::Restart,
            Trial::None if is_open && self.is_over(last, now) => Step::Try,
            Trial::None | Trial::Running | Trial::Passed => Step::Rest,
        }
    }

    /// A restart in the future was one by a wrong clock.
    fn is_over(&self, last: Option<Timestamp>, now: Timestamp) -> bool {
        last.is_none_or(|last| last > now || now.duration_since(last) >= self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u16 = 12 * 60;

    #[test]
    fn a_restart_is_tested_first_and_neither_too_often_nor_outside_of_the_hours() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let ago = |minutes| Some(now - SignedDuration::from_mins(minutes));
        let failed = || Trial::Failed("broken".to_owned());
        // Trial, wanted, last, minute of the day, step. An hour between restarts, from 11:00 to 13:00.
        let rows = [
            (Trial::None, false, None, NOON, Step::Rest),
            (Trial::None, true, None, NOON, Step::Try),
            (Trial::None, true, ago(59), NOON, Step::Rest),
            (Trial::None, true, ago(60), NOON, Step::Try),
            (Trial::None, true, ago(-60), NOON, Step::Try),
            (Trial::None, true, ago(600), 13 * 60, Step::Rest),
            (Trial::Running, true, None, NOON, Step::Rest),
            (Trial::Passed, true, ago(600), NOON, Step::Restart),
            // The test took longer than the window lasts, or somebody else has restarted the server.
            (Trial::Passed, true, ago(600), 13 * 60, Step::Rest),
            (Trial::Passed, false, ago(0), NOON, Step::Rest),
            (failed(), true, None, NOON, Step::Complain("broken".to_owned())),
            (failed(), true, None, 0, Step::Complain("broken".to_owned())),
        ];
        let globals = Globals { activation_window: DailyWindow::parse("11:00-13:00").ok(), ..Globals::default() };
        for (trial, wanted, last, minute, step) in rows {
            let text = format!("{trial:?} {wanted} {last:?} {minute}");
            assert_eq!(Rule::new(&globals).next(trial, wanted, last, now, minute), step, "{text}");
        }
        let always = Rule::new(&Globals::default());
        assert_eq!(always.next(Trial::None, true, None, now, 0), Step::Try);
    }
}
