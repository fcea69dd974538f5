//! Counts of what a server has done, in memory that all its processes share.
//!
//! Only one child renews, while any child may be asked, and the counts outlive both. So they are plain atomics without
//! pointers: all bytes zero are counts of nothing.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::http::RequestCounts;

/// The outcome of a renewal, or of an attempt at one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewalOutcome {
    /// New certificates are staged or live.
    Success,
    /// The attempt failed, and is repeated.
    Failure,
    /// The command for `renewing` does not want the renewal now.
    Denied,
    /// The process stopped, and another one goes on.
    Interrupted,
}

/// The outcome of a command that was run for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutcome {
    /// The command ended with code 0.
    Success,
    /// The command could not be run, or ended otherwise.
    Failure,
    /// The command took too long, and was ended.
    Timeout,
    /// The command was ended as the process stops.
    Interrupted,
}

impl RenewalOutcome {
    /// All outcomes with their names in metrics, each at its position.
    pub const ALL: [(Self, &str); 4] = [
        (Self::Success, "success"),
        (Self::Failure, "failure"),
        (Self::Denied, "denied"),
        (Self::Interrupted, "interrupted"),
    ];
}

impl CommandOutcome {
    /// All outcomes with their names in metrics, each at its position.
    pub const ALL: [(Self, &str); 4] = [
        (Self::Success, "success"),
        (Self::Failure, "failure"),
        (Self::Timeout, "timeout"),
        (Self::Interrupted, "interrupted"),
    ];
}

/// All counts of a server. A count never decreases while the memory lives.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests to CAs.
    pub requests: RequestCounts,
    renewals: [AtomicU64; RenewalOutcome::ALL.len()],
    commands: [[AtomicU64; CommandOutcome::ALL.len()]; Self::EVENTS],
}

impl Counts {
    /// The number of events that commands are run for.
    pub const EVENTS: usize = 11;

    /// Counts the end of a renewal.
    pub fn add_renewal(&self, outcome: RenewalOutcome) {
        self.renewals[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a command for the event with this position.
    pub fn add_command(&self, event: usize, outcome: CommandOutcome) {
        if let Some(counts) = self.commands.get(event) {
            counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of renewals with each outcome, in the order of [`RenewalOutcome::ALL`].
    #[must_use]
    pub fn renewals(&self) -> [u64; RenewalOutcome::ALL.len()] {
        self.renewals.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Returns the number of commands for each event with each outcome, in the order of [`CommandOutcome::ALL`].
    #[must_use]
    pub fn commands(&self) -> [[u64; CommandOutcome::ALL.len()]; Self::EVENTS] {
        self.commands.each_ref().map(|counts| counts.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_has_its_own_place() {
        let counts = Counts::default();
        for (position, (outcome, _)) in RenewalOutcome::ALL.into_iter().enumerate() {
            (0..=position).for_each(|_| counts.add_renewal(outcome));
        }
        for (position, (outcome, _)) in CommandOutcome::ALL.into_iter().enumerate() {
            (0..=position).for_each(|_| counts.add_command(10, outcome));
        }
        counts.add_command(11, CommandOutcome::Success);
        assert_eq!((counts.renewals(), counts.commands()[10]), ([1, 2, 3, 4], [1, 2, 3, 4]));
        assert_eq!(counts.commands().iter().flatten().sum::<u64>(), 10);
    }
}
