//! Responses for certificates that are about to go live: in the store before anybody serves them.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::Stapling;
use super::collect::tell_must_staple;
use super::must_staple::MustStaple;
use super::stored;
use super::stored::Found;
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
    /// This process stops.
    #[error("the process stops")]
    Cancelled,
    /// Clients insist on a response, which nobody would send them.
    #[error(
        "a certificate needs an OCSP response (must-staple), but stapling is off; set 'MDStapling on', or restart the server \
         if 'SSLUseStapling on' staples it"
    )]
    Off,
    /// Clients insist on a response, and there is none.
    #[error("a certificate needs an OCSP response (must-staple), but there is none: {reason}")]
    NoResponse {
        /// Why there is none.
        reason: String,
        /// How often in a row that was so.
        failures: u32,
    },
}

/// Who is asked, and since when.
struct Round {
    http: Option<Arc<dyn HttpClient>>,
    begun: Instant,
}

impl Stapling {
    /// After so long no other question is asked; how long one may take, its client says.
    const AHEAD: Duration = Duration::from_secs(5);

    /// How this process asks responders about what goes live. The first stays.
    pub fn ask_by(&self, client: OcspClient) {
        let _ = self.client.set(client);
    }

    /// Sees to it that the store has the responses of a domain's certificates that are about to go live.
    ///
    /// # Errors
    /// If they are to wait, as clients insist on a response that is not there. Where clients do not insist, it is fetched once
    /// the certificates are live.
    pub fn fetch_ahead<'a>(
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
                // No start could do better.
                Some(MustStaple::NoResponder) => tell_must_staple(md.name.as_str(), leaf, is_stapled),
                Some(MustStaple::Off) => return Err(Unstapled::Off),
                None if !is_stapled => {}
                None => {
                    let Err(reason) = self.have(md, chain, &round) else { continue };
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

    /// Has the store have a response, if there can be one.
    fn have(&self, md: &ManagedDomain, chain: &Chain, round: &Round) -> Result<(), String> {
        let Some(entry) = self.entry(md, chain) else { return Ok(()) };
        let now = self.clock.now();
        if let Found::Held(held) = self.look(&entry) {
            if held.is_good(now) {
                return Ok(());
            }
        }
        let http = round.http.as_ref().ok_or("this process asks no OCSP responder")?;
        if round.begun.elapsed() > Self::AHEAD {
            return Err("the responder was not asked, as another one took too long".to_owned());
        }
        let fetched = ocsp::fetch(&**http, &entry.responder, &entry.leaf, &entry.issuer, now);
        match fetched.map_err(|err| err.to_string())? {
            // Told, with all that follows, when it is fetched as that of a certificate that is live.
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
