//! The renewal of a domain whose certificate comes from tailscaled: requests a pair and stages it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::acme::{AcmeError, ChainRefused, Journal};
use crate::clock::Clock;
use crate::crypto::{Certificate, Chain, PrivateKey};
use crate::http::HttpClient;
use crate::model::Window;
use crate::schedule::Plan;
use crate::sets::StagedJournal;
use crate::tailscale::{Cause, TailscaleError, key_and_chain, socket_of};

/// A renewal from tailscaled.
pub struct Tailnet {
    pub journal: StagedJournal,
    pub http: Arc<dyn HttpClient>,
    pub clock: Arc<dyn Clock>,
    /// Fingerprints (SHA-256) of the certificates that are renewed.
    pub known: Vec<String>,
}

impl Tailnet {
    /// Requests a pair from tailscaled and stages it.
    ///
    /// # Errors
    /// If there is no new certificate for the domain.
    pub fn run(&mut self) -> Result<(), AcmeError> {
        let (key, chain) = self.obtain()?;
        for spec in self.journal.domain().key_specs().0 {
            self.journal.save_key(&spec, &key)?;
            self.journal.save_chain(&spec, &chain).map_err(|refused| match refused {
                ChainRefused::Unfit(reason) => self.failed(Cause::Unfit(reason)).into(),
                ChainRefused::Port(err) => AcmeError::from(err),
            })?;
        }
        Ok(())
    }

    fn obtain(&mut self) -> Result<(PrivateKey, Chain), TailscaleError> {
        let names = self.journal.domain().order_names().len();
        if names != 1 {
            return Err(self.failed(Cause::Names(names)));
        }
        self.journal.progress("Asking tailscaled");
        let now = self.clock.now();
        let (key, chain) = self.ask(None)?;
        let window = self.journal.domain().configured_renew_window();
        let Some(validity) = min_validity_of_renewal(chain.leaf(), window, self.is_known(chain.leaf()), now) else {
            return Ok((key, chain));
        };
        self.journal.progress("Waiting for tailscaled to renew");
        let (key, chain) = self.ask(Some(validity))?;
        match self.is_known(chain.leaf()) {
            true => Err(self.failed(Cause::NotNewer(chain.leaf().not_after()))),
            false => Ok((key, chain)),
        }
    }

    fn ask(&self, min_validity: Option<SignedDuration>) -> Result<(PrivateKey, Chain), TailscaleError> {
        let md = self.journal.domain();
        let socket = socket_of(md.ca_url().unwrap_or_default()).unwrap_or_default();
        let name = md.order_names().first().map(ToString::to_string).unwrap_or_default();
        key_and_chain(&*self.http, &socket, &name, min_validity, self.clock.now())
    }

    fn is_known(&self, leaf: &Certificate) -> bool {
        self.known.contains(&leaf.summary().sha256_fingerprint())
    }

    fn failed(&self, cause: Cause) -> TailscaleError {
        let socket = socket_of(self.journal.domain().ca_url().unwrap_or_default()).unwrap_or_default();
        TailscaleError { socket, cause }
    }
}

/// Returns the `min_validity` of a second request, if tailscaled gave a certificate that does not do: longer than that
/// certificate is valid if it is the one to be renewed, otherwise long enough that it is not due at once. `None` if the
/// certificate does.
fn min_validity_of_renewal(
    leaf: &Certificate,
    window: Option<Window>,
    is_known: bool,
    now: Timestamp,
) -> Option<SignedDuration> {
    let from = leaf.not_before();
    let until = leaf.not_after();
    let life = until.duration_since(from);
    let left = until.duration_since(now);
    let due = Plan::new((from, until), window, None).at;
    let least = match is_known {
        true => left,
        // A window of a whole lifetime would make tailscaled renew at every request.
        false if due <= now => until.duration_since(due).min(life / 10 * 9),
        false => return None,
    };
    // A little more, as clocks differ and a request takes time.
    Some(least.max(SignedDuration::ZERO) + life / 100 + SignedDuration::from_secs(1))
}

#[cfg(test)]
mod tests;
