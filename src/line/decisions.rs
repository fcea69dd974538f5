//! The decisions of the queue that need neither store nor CA: what a look at a domain leads to, and when.

use jiff::{SignedDuration, Timestamp};

use crate::schedule::{self, Validity};

/// The findings of a look at a domain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Findings {
    /// When the renewal is to begin, as far as failures and the CA allow it.
    pub(crate) renew_at: Timestamp,
    /// Whether commands have set up something for an earlier renewal that is not taken away.
    pub(crate) has_left_over: bool,
    /// When the CA is to be asked about the renewal; `None` if it is not.
    pub(crate) ask_at: Option<Timestamp>,
    /// When commands are to be warned of the end of the certificates; `None` if they are not.
    pub(crate) warn_at: Option<Timestamp>,
    /// When the domain is looked at again in any case.
    pub(crate) check_at: Timestamp,
}

/// The work that a domain is put in line for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// The renewal begins, or goes on.
    Renew,
    /// Commands take away what they have set up for an earlier renewal. Nothing is due.
    CleanUp,
    /// The CA is asked when to renew.
    Ask,
}

/// The consequences of a look at a domain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) work: Option<Work>,
    /// Whether commands are warned of the end of the certificates.
    pub(crate) warns: bool,
    /// When to look again.
    pub(crate) look_at: Timestamp,
}

impl Findings {
    /// Decides what to do now, and when to look again.
    pub(crate) fn decide(self, now: Timestamp) -> Decision {
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let work = match self.renew_at <= now {
            true => Some(Work::Renew),
            false if self.has_left_over => Some(Work::CleanUp),
            false => is_due(self.ask_at).then_some(Work::Ask),
        };
        let to_come = [Some(self.renew_at), self.ask_at, self.warn_at].into_iter().flatten().filter(|at| *at > now);
        Decision {
            work,
            // A renewal warns by itself when it fails.
            warns: work != Some(Work::Renew) && is_due(self.warn_at),
            look_at: to_come.fold(self.check_at, Timestamp::min),
        }
    }
}

/// Returns when a renewal that is due at a moment begins, of certificates that are good until another. They are not all renewed
/// at the moment at which they come due: servers that were set up or restarted together would come together. `chance` in 0..1 is
/// the certificate's own.
pub(crate) fn begin_at(due: Timestamp, good_until: Timestamp, interval: SignedDuration, chance: f64) -> Timestamp {
    due + schedule::spread(good_until.duration_since(due), interval, chance)
}

/// The course of an attempt to begin a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// No renewal begins: the domain is not due any more.
    NotDue,
    /// The staged renewal is complete: it goes live, commands are notified, the server restarts itself.
    FinishOff,
    /// The staged renewal is served already, and the domain is due all the same: another one begins with nothing.
    StartOver,
    /// The renewal begins, or goes on with what is staged.
    GoOn,
}

/// Decides how to go on with a domain that is due or not, of which a finished renewal is staged or not. `is_live` says whether what is
/// staged is served already, and `is_complete` whether it has all that is to be renewed; both are asked of a finished renewal only.
pub(crate) fn course(
    is_due: bool,
    is_finished: bool,
    is_live: impl FnOnce() -> bool,
    is_complete: impl FnOnce() -> bool,
) -> Course {
    match is_finished.then(is_live) {
        Some(true) if is_due => Course::StartOver,
        Some(true) => Course::FinishOff,
        Some(false) if is_complete() => Course::FinishOff,
        _ if is_due => Course::GoOn,
        _ => Course::NotDue,
    }
}

/// Returns how long after a renewal the administrator is told of it (`MDActivationDelay`), so that the certificates are activated
/// later: at most half of what is left of those that are served. Where no complete set is served, that is at once.
pub(crate) fn activation_delay(served: Option<Validity>, configured: SignedDuration, now: Timestamp) -> SignedDuration {
    match served {
        Some((_, until)) if until > now => configured.min(until.duration_since(now) / 2).max(SignedDuration::ZERO),
        _ => SignedDuration::ZERO,
    }
}

/// Returns the moment of the next attempt: after the delay for failures, and not before the CA wants it, as far as `patience` goes,
/// or before its count of failed validations allows it.
pub(crate) fn next_attempt(
    delay: SignedDuration,
    retry_after: Option<Timestamp>,
    patience: SignedDuration,
    validation_floor: Option<Timestamp>,
    now: Timestamp,
) -> Timestamp {
    let retry_after = retry_after.map(|at| at.min(now + patience));
    [retry_after, validation_floor].into_iter().flatten().fold(now + delay, Timestamp::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    #[test]
    fn a_look_at_a_domain_leads_to_the_most_urgent_work_and_the_next_look_is_when_something_comes_due() {
        use Work::{Ask, CleanUp, Renew};
        // When to renew, whether something is left, when to ask and to warn; the work, whether it warns, the next look. The check
        // of all domains is after 100 seconds.
        let rows = [
            (500, false, None, None, None, false, 100),
            (50, false, None, None, None, false, 50),
            (0, false, None, None, Some(Renew), false, 100),
            (-5, false, None, None, Some(Renew), false, 100),
            // What an earlier renewal has left is taken away by the renewal itself, or before it
            (0, true, None, None, Some(Renew), false, 100),
            (500, true, None, None, Some(CleanUp), false, 100),
            (50, true, None, None, Some(CleanUp), false, 50),
            (500, true, Some(0), None, Some(CleanUp), false, 100),
            // Questions
            (500, false, Some(0), None, Some(Ask), false, 100),
            (500, false, Some(-5), None, Some(Ask), false, 100),
            (500, false, Some(30), None, None, false, 30),
            (20, false, Some(30), None, None, false, 20),
            (0, false, Some(0), None, Some(Renew), false, 100),
            (0, false, Some(30), None, Some(Renew), false, 30),
            // Warnings
            (500, false, None, Some(0), None, true, 100),
            (500, false, None, Some(40), None, false, 40),
            (500, false, Some(0), Some(0), Some(Ask), true, 100),
            (500, true, None, Some(0), Some(CleanUp), true, 100),
            (0, false, None, Some(0), Some(Renew), false, 100),
            (0, false, None, Some(40), Some(Renew), false, 40),
        ];
        for row in rows {
            let (renew_at, has_left_over, ask_at, warn_at, work, warns, look_at) = row;
            let findings = Findings {
                renew_at: at(renew_at),
                has_left_over,
                ask_at: ask_at.map(at),
                warn_at: warn_at.map(at),
                check_at: at(100),
            };
            assert_eq!(findings.decide(at(0)), Decision { work, warns, look_at: at(look_at) }, "{row:?}");
        }
    }

    #[test]
    fn renewals_are_spread_over_a_check_interval_or_a_tenth_of_what_is_left() {
        // Seconds until the end and of the interval, the chance; seconds of delay
        for row in
            [(1000, 50, 0.0, 0), (1000, 50, 0.5, 25), (1000, 500, 0.5, 50), (1000, 500, 1.0, 100), (-10, 50, 1.0, 0)]
        {
            let (left, interval, chance, expected) = row;
            let begin = begin_at(at(0), at(left), SignedDuration::from_secs(interval), chance);
            assert_eq!(begin, at(expected), "{row:?}");
        }
    }

    #[test]
    fn a_renewal_is_finished_off_started_over_or_goes_on_by_what_is_staged() {
        use Course::{FinishOff, GoOn, NotDue, StartOver};
        // Whether it is due, finished, served already, complete
        let rows = [
            (false, false, false, false, NotDue),
            (true, false, false, false, GoOn),
            // A renewal that is not finished may have all its certificates
            (true, false, true, true, GoOn),
            (false, true, false, true, FinishOff),
            (true, true, false, true, FinishOff),
            // Finished, but a key type came due since, or a file is lost
            (true, true, false, false, GoOn),
            (false, true, false, false, NotDue),
            // Served already: also what is not complete any more
            (false, true, true, true, FinishOff),
            (false, true, true, false, FinishOff),
            (true, true, true, true, StartOver),
            (true, true, true, false, StartOver),
        ];
        for row in rows {
            let (is_due, is_finished, is_live, is_complete, expected) = row;
            assert_eq!(course(is_due, is_finished, || is_live, || is_complete), expected, "{row:?}");
        }
    }

    #[test]
    fn a_renewal_is_told_after_the_delay_but_in_the_first_half_of_what_is_left() {
        // Seconds that the served set is good for, and of the configured delay; of the delay
        let rows = [
            (None, 100, 0),
            (Some(1000), 100, 100),
            (Some(1000), 600, 500),
            (Some(1000), 0, 0),
            (Some(1000), -5, 0),
            (Some(0), 100, 0),
            (Some(-10), 100, 0),
        ];
        for row in rows {
            let (left, configured, expected) = row;
            let served = left.map(|left| (at(-1000), at(left)));
            let delay = activation_delay(served, SignedDuration::from_secs(configured), at(0));
            assert_eq!(delay.as_secs(), expected, "{row:?}");
        }
    }

    #[test]
    fn the_next_attempt_waits_for_the_longest_of_all_reasons() {
        // Seconds of delay, of Retry-After, of patience for that, until the count of failed validations allows one; of the wait
        let rows = [
            (30, None, 1000, None, 30),
            (30, Some(60), 1000, None, 60),
            (30, Some(10), 1000, None, 30),
            (30, Some(60), 1000, Some(90), 90),
            (100, Some(60), 1000, Some(90), 100),
            (30, Some(1000), 1000, None, 1000),
            (30, Some(1001), 1000, None, 1000),
            (30, Some(5000), 60, None, 60),
            (100, Some(5000), 60, None, 100),
            (30, Some(5000), 60, Some(90), 90),
        ];
        for row in rows {
            let (delay, retry_after, patience, floor, expected) = row;
            let [delay, patience] = [delay, patience].map(SignedDuration::from_secs);
            let next = next_attempt(delay, retry_after.map(at), patience, floor.map(at), at(0));
            assert_eq!(next, at(expected), "{row:?}");
        }
    }
}
