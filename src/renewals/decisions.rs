//! The decisions of the queue that need neither store nor CA: what a look at a domain leads to, and when.

use jiff::{SignedDuration, Timestamp};

use crate::acme::AcmeError;
use crate::schedule;

/// The findings of a look at a domain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Findings {
    /// When the renewal is to begin, as far as failures and the CA allow it.
    pub(super) renew_at: Timestamp,
    /// Whether commands have set up something for an earlier renewal that is not taken away.
    pub(super) has_left_over: bool,
    /// When the CA is to be asked about the renewal; `None` if it is not.
    pub(super) ask_at: Option<Timestamp>,
    /// When commands are to be warned of the end of the certificates; `None` if they are not.
    pub(super) warn_at: Option<Timestamp>,
    /// When the domain is looked at again in any case.
    pub(super) check_at: Timestamp,
}

/// The work that a domain is put in line for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Its renewal begins, or goes on.
    Renew,
    /// Its commands take away what they have set up. Nothing is due.
    CleanUp,
    /// Its CA is asked when to renew.
    Ask,
}

/// The consequences of a look at a domain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) work: Option<Work>,
    /// Whether commands are warned of the end of the certificates.
    pub(super) warns: bool,
    /// When to look again.
    pub(super) look_at: Timestamp,
}

impl Findings {
    /// Decides what to do now, and when to look again.
    pub(super) fn decide(self, now: Timestamp) -> Decision {
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
pub(super) fn begin_at(due: Timestamp, good_until: Timestamp, interval: SignedDuration, chance: f64) -> Timestamp {
    due + schedule::spread(good_until.duration_since(due), interval, chance)
}

/// Whether the CA has too much to do, which is not the fault of this domain.
pub(super) fn wants_fewer(err: &AcmeError) -> bool {
    match err {
        AcmeError::Problem { problem, retry_after, .. } => {
            problem.is("rateLimited") || problem.is("serverInternal") && retry_after.is_some()
        }
        AcmeError::HttpStatus { http_status, retry_after, .. }
        | AcmeError::Unavailable { http_status, retry_after, .. } => {
            *http_status == 429 || *http_status == 503 && retry_after.is_some()
        }
        _ => false,
    }
}
