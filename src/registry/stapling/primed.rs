//! Which certificates are stapled.

use super::Stapling;
use crate::model::ManagedDomain;

/// Collects the certificates of a start.
#[derive(Default)]
pub struct Primer;

impl Primer {
    /// Takes a certificate, given with its issuer as PEM, and tells whether it is stapled.
    pub fn prime(&mut self, md: Option<&ManagedDomain>, pem: &[u8]) -> bool {
        let _ = (md, pem);
        false
    }

    /// The table of all that were primed.
    #[must_use]
    pub fn finish(self) -> Stapling {
        Stapling::default()
    }
}

/// Whether the certificates of a host are stapled. `only` says of its only managed domain what its section says and what it
/// inherits; `stapling` and `others` are MDStapling and MDStapleOthers of the host.
#[must_use]
pub fn is_stapled(only: Option<(Option<bool>, bool)>, stapling: Option<bool>, others: Option<bool>) -> bool {
    let of_host = stapling.unwrap_or(false) && others.unwrap_or(true);
    match only {
        Some((Some(section), _)) => section,
        Some((None, inherited)) => inherited || of_host,
        None => of_host,
    }
}
