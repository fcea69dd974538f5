//! The state of a domain in words that people use.

use crate::model::{State as Stored, Timestamp};

/// The state of a domain; the first that holds is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A file in the store, or the settings, cannot be used.
    Error,
    /// A certificate that is served is revoked.
    Revoked,
    /// A new certificate gets into use at the next start.
    WaitingForRestart,
    /// A certificate that is served has ended.
    Expired,
    /// The last renewals have failed.
    Failing,
    /// The domain has no certificate, and nothing has failed.
    NoCertificate,
    /// A certificate of several is missing, or lacks something that is configured.
    Incomplete,
    /// The renewal can begin.
    Due,
    /// Nothing is to be done.
    Good,
}

/// The facts that decide.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The state of the files.
    pub stored: Stored,
    /// The end of the certificates.
    pub until: Option<Timestamp>,
    /// A certificate is known to be revoked.
    pub is_revoked: bool,
    /// A new certificate waits for a restart.
    pub waits: bool,
    /// The last renewal has failed.
    pub has_failed: bool,
    /// The time of the renewal has come.
    pub is_due: bool,
}

/// How a state is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Nobody has to do anything.
    Green,
    /// Somebody may have to do something.
    Yellow,
    /// Clients are in trouble, or will be.
    Red,
}

impl State {
    /// Decides by facts.
    #[must_use]
    pub fn of(facts: &Facts, now: Timestamp) -> Self {
        let has_ended = facts.until.is_some_and(|until| until <= now);
        match facts.stored {
            Stored::Error | Stored::MissingInformation => Self::Error,
            _ if facts.is_revoked => Self::Revoked,
            _ if facts.waits => Self::WaitingForRestart,
            _ if has_ended => Self::Expired,
            _ if facts.has_failed => Self::Failing,
            _ if facts.until.is_none() => Self::NoCertificate,
            Stored::Incomplete => Self::Incomplete,
            _ if facts.is_due => Self::Due,
            _ => Self::Good,
        }
    }

    /// Returns the word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Revoked => "revoked",
            Self::WaitingForRestart => "waiting for a restart",
            Self::Expired => "expired",
            Self::Failing => "failing",
            Self::NoCertificate => "no certificate yet",
            Self::Incomplete => "incomplete",
            Self::Due => "due",
            Self::Good => "good",
        }
    }

    /// Returns the colour of the word.
    #[must_use]
    pub fn colour(self) -> Colour {
        match self {
            Self::Error | Self::Revoked | Self::Expired | Self::Failing => Colour::Red,
            Self::WaitingForRestart | Self::NoCertificate | Self::Incomplete | Self::Due => Colour::Yellow,
            Self::Good => Colour::Green,
        }
    }
}

impl Colour {
    /// Returns what a terminal obeys (ECMA-48, select graphic rendition).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Red => "\x1b[31m",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_troubles_clients_most_is_told_first() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let later = Some(now + jiff::SignedDuration::from_hours(1));
        let good = Facts {
            stored: Stored::Complete,
            until: later,
            is_revoked: false,
            waits: false,
            has_failed: false,
            is_due: false,
        };
        let none = Facts { stored: Stored::Incomplete, until: None, is_due: true, ..good };
        for (facts, word, colour) in [
            (good, "good", Colour::Green),
            (Facts { is_due: true, ..good }, "due", Colour::Yellow),
            (Facts { stored: Stored::Incomplete, is_due: true, ..good }, "incomplete", Colour::Yellow),
            (none, "no certificate yet", Colour::Yellow),
            (Facts { has_failed: true, ..none }, "failing", Colour::Red),
            (Facts { has_failed: true, is_due: true, ..good }, "failing", Colour::Red),
            (Facts { until: Some(now), has_failed: true, ..good }, "expired", Colour::Red),
            (Facts { waits: true, ..none }, "waiting for a restart", Colour::Yellow),
            (Facts { waits: true, is_revoked: true, ..good }, "revoked", Colour::Red),
            (Facts { stored: Stored::Error, is_revoked: true, ..good }, "error", Colour::Red),
        ] {
            let state = State::of(&facts, now);
            assert_eq!((state.word(), state.colour()), (word, colour), "{facts:?}");
        }
    }
}
