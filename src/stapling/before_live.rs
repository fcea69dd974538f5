//! Fetches OCSP responses for certificates that are about to go live, before a process serves them.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::Stapling;
use super::collect::report_must_staple;
use super::must_staple::MustStaple;
use super::stored::{self, Found};
use super::work::OcspClient;
use crate::cancel::Cancel;
use crate::crypto::{Chain, Revocation};
use crate::http::HttpClient;
use crate::log::note;
use crate::model::{ManagedDomain, time};
use crate::ocsp;

/// Why a set waits before it goes live.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unstapled {
    /// The process stops.
    #[error("the process stops")]
    Cancelled,
    /// A certificate needs a response (must-staple), but stapling is off.
    #[error(
        "a certificate needs an OCSP response (must-staple), but stapling is off; set 'MDStapling on', or restart the server \
         if 'SSLUseStapling on' staples it"
    )]
    Off,
    /// A certificate needs a response (must-staple), but there is none.
    #[error("a certificate needs an OCSP response (must-staple), but there is none: {reason}")]
    NoResponse {
        /// Why there is no response.
        reason: String,
        /// Number of failed attempts in a row.
        failures: u32,
    },
}

/// An attempt to fetch the responses for a set: the HTTP client, and when the attempt began.
struct Round {
    http: Option<Arc<dyn HttpClient>>,
    begun: Instant,
}

impl Stapling {
    /// Time after which no further request is sent. The client limits how long a single request takes.
    const TIME_LIMIT: Duration = Duration::from_secs(5);

    /// Sets how this process makes HTTP clients for responses before certificates go live. A second call changes nothing.
    pub fn set_client(&self, client: OcspClient) {
        let _ = self.client.set(client);
    }

    /// Ensures that the store has OCSP responses for certificates of a domain that are about to go live.
    ///
    /// # Errors
    /// If the certificates have to wait, as one with must-staple has no response. Responses for other certificates may be
    /// fetched once these are live.
    pub fn fetch_before_live<'a>(
        &self,
        md: &ManagedDomain,
        chains: impl Iterator<Item = &'a Chain>,
        cancel: &Cancel,
    ) -> Result<(), Unstapled> {
        let is_stapled = self.goes_live.contains(&md.name);
        let http = self.client.get().filter(|_| is_stapled).map(|client| client(cancel));
        let round = Round { http, begun: Instant::now() };
        let mut lacks = None;
        for chain in chains {
            let leaf = chain.leaf();
            match MustStaple::judge(leaf.must_staple(), leaf.ocsp_uri().is_some(), is_stapled) {
                // A restart would change nothing about that, so the set goes live.
                Some(MustStaple::NoResponder) => report_must_staple(md.name.as_str(), leaf, is_stapled),
                Some(MustStaple::Off) => return Err(Unstapled::Off),
                None if !is_stapled => {}
                None => {
                    let Err(reason) = self.ensure_response(md, chain, &round) else { continue };
                    note!(
                        Info,
                        "{}: no OCSP response for certificate {} yet: {reason}",
                        md.name,
                        leaf.summary().serial_hex()
                    );
                    lacks = lacks.or(Some(reason).filter(|_| leaf.must_staple()));
                }
            }
        }
        if cancel.is_cancelled() {
            return Err(Unstapled::Cancelled);
        }
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(reason) = lacks else {
            waits.remove(&md.name);
            return Ok(());
        };
        let failures = waits.entry(md.name.clone()).or_default();
        *failures = failures.saturating_add(1);
        Err(Unstapled::NoResponse { reason, failures: *failures })
    }

    /// Ensures that the store has a response for a certificate, if the certificate names a responder.
    fn ensure_response(&self, md: &ManagedDomain, chain: &Chain, round: &Round) -> Result<(), String> {
        let Some(entry) = self.entry(md, chain) else { return Ok(()) };
        let now = self.clock.now();
        if let Found::Held(held) = self.read_stored(&entry) {
            if held.is_good(now) {
                return Ok(());
            }
        }
        let http = round.http.as_ref().ok_or("this process asks no OCSP responder")?;
        if round.begun.elapsed() > Self::TIME_LIMIT {
            return Err("the responder was not asked, as another one took too long".to_owned());
        }
        let fetched = ocsp::fetch(&**http, &entry.responder, &entry.leaf, &entry.issuer, now);
        match fetched.map_err(|err| err.to_string())? {
            // Logged, and acted upon, when the response is fetched again for the live certificate.
            fetched if fetched.revocation == Revocation::Revoked => Ok(()),
            fetched => {
                let until = time::format_gmt(fetched.validity.1);
                stored::save(&self.documents, &entry, fetched).1.map_err(|err| err.to_string())?;
                note!(Info, "{}: OCSP status of certificate {} is 'good' until {until}", md.name, entry.serial());
                Ok(())
            }
        }
    }
}
