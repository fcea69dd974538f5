//! Collects the certificates that are stapled, during a start, for the table of them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, RwLock};

use super::must_staple::MustStaple;
use super::{Held, OTHER, Sha1, StapledCertificate, Stapling};
use crate::clock::Clock;
use crate::crypto::{Certificate, Chain, OcspIssuer, sha256};
use crate::documents::Documents;
use crate::log::{note, report};
use crate::model::{DomainName, Globals, ManagedDomain};

/// Collects the certificates of a start. A certificate of many hosts is read once.
#[derive(Default)]
pub struct Collector {
    entries: Vec<StapledCertificate>,
    by_sha1: HashMap<Sha1, usize>,
    /// Entries by the SHA-256 of their PEM text; `None` for a certificate that cannot be stapled.
    seen: HashMap<[u8; 32], Option<usize>>,
    issuers: Vec<Arc<OcspIssuer>>,
    responders: HashSet<Arc<str>>,
    /// Domains whose certificates are also stapled when they go live.
    goes_live: HashSet<DomainName>,
}

/// Checks whether the certificates of a host are stapled. If the host has a single managed domain (`only`), `MDStapling` in its
/// section decides (first part, if `Some`), otherwise the value that the domain inherits (second part) or `MDStapling` with
/// `MDStapleOthers` of the host (`stapling`, `others`). These decide alone if the host has no domain, or several.
pub fn is_stapled(only: Option<(Option<bool>, bool)>, stapling: Option<bool>, others: Option<bool>) -> bool {
    let of_host = stapling.unwrap_or(false) && others.unwrap_or(true);
    match only {
        Some((Some(section), _)) => section,
        Some((None, inherited)) => inherited || of_host,
        None => of_host,
    }
}

impl Collector {
    /// Adds a certificate, given as PEM and followed by that of its issuer. Returns whether it can be stapled.
    pub fn prime(&mut self, md: Option<&ManagedDomain>, pem: &[u8]) -> bool {
        let Ok(key) = sha256(pem) else { return false };
        let index = match self.seen.get(&key) {
            Some(known) => *known,
            None => {
                let index = self.read(md, pem);
                self.seen.insert(key, index);
                index
            }
        };
        let Some(index) = index else { return false };
        let entry = &mut self.entries[index];
        entry.owner = entry.owner.take().or_else(|| md.map(|md| md.name.clone()));
        true
    }

    /// Logs a must-staple certificate that is not stapled. Returns `false`, as [`Collector::prime`] does for such a certificate.
    pub fn report_unstapled(&mut self, md: &ManagedDomain, pem: &[u8]) -> bool {
        let is_new = sha256(pem).is_ok_and(|key| self.seen.insert(key, None).is_none());
        if let Some(leaf) = Certificate::from_pem(pem).ok().filter(|_| is_new) {
            report_must_staple(md.name.as_str(), &leaf, false);
        }
        false
    }

    /// Notes that certificates of this domain are also stapled when they go live.
    pub fn expect(&mut self, md: &ManagedDomain) {
        self.goes_live.insert(md.name.clone());
    }

    /// Notes which certificates, by SHA-256, were offered to the hosts of each domain: those that go live replace them.
    pub fn offered(&mut self, by_owner: &HashMap<DomainName, HashSet<String>>) {
        for entry in &mut self.entries {
            let offered = entry.owner.as_ref().and_then(|owner| by_owner.get(owner));
            entry.is_managed = offered.is_some_and(|offered| offered.contains(&entry.sha256));
        }
    }

    /// Returns the domains that were passed to [`Collector::expect`].
    pub fn expected(&self) -> &HashSet<DomainName> {
        &self.goes_live
    }

    fn read(&mut self, md: Option<&ManagedDomain>, pem: &[u8]) -> Option<usize> {
        let owner = md.map_or(OTHER, |md| md.name.as_str());
        let chain = match Chain::from_pem(pem) {
            Ok(chain) => chain,
            Err(err) => {
                report!(AH10268, "md[{owner}]: a certificate is not stapled, as its chain cannot be read: {err}");
                return None;
            }
        };
        let leaf = chain.leaf();
        report_must_staple(owner, leaf, true);
        let serial = || leaf.summary().serial_hex();
        let Some(responder) = leaf.ocsp_uri() else {
            note!(Debug, "md[{owner}]: certificate with serial {} has no OCSP responder URL", serial());
            return None;
        };
        let Some(issuer) = chain.certificates().get(1) else {
            report!(
                AH10269,
                "md[{owner}]: certificate with serial {} is not stapled, as its file lacks the certificate of its issuer; \
                 append it",
                serial()
            );
            return None;
        };
        let issuer = self.issuer(owner, issuer)?;
        let sha1 = leaf.sha1();
        Some(*self.by_sha1.entry(sha1).or_insert_with(|| {
            let responder: Arc<str> = match self.responders.get(responder.as_str()) {
                Some(known) => Arc::clone(known),
                None => responder.into(),
            };
            self.responders.insert(Arc::clone(&responder));
            self.entries.push(StapledCertificate {
                index: 0,
                signal: 1 + self.entries.len(),
                went_live: false,
                is_managed: false,
                owner: md.map(|md| md.name.clone()),
                sha1,
                sha256: leaf.summary().sha256_fingerprint(),
                leaf: leaf.clone(),
                issuer,
                responder,
                held: RwLock::new(Held::default()),
                seen: AtomicU32::new(0),
            });
            self.entries.len() - 1
        }))
    }

    /// Returns the issuer of a certificate. An issuer of many certificates is kept once.
    fn issuer(&mut self, owner: &str, certificate: &Certificate) -> Option<Arc<OcspIssuer>> {
        if let Some(known) = self.issuers.iter().find(|known| known.certificate() == certificate) {
            return Some(Arc::clone(known));
        }
        match OcspIssuer::new(certificate) {
            Ok(new) => {
                let new = Arc::new(new);
                self.issuers.push(Arc::clone(&new));
                Some(new)
            }
            Err(err) => {
                report!(
                    AH10268,
                    "md[{owner}]: a certificate is not stapled, as the certificate of its issuer cannot be read: {err}"
                );
                None
            }
        }
    }

    /// Makes the table of all certificates that were added, with their responses in the store.
    #[must_use]
    pub fn finish(
        self,
        documents: &Arc<Documents>,
        clock: &Arc<dyn Clock>,
        globals: &Globals,
        is_restart: bool,
    ) -> Stapling {
        let window = globals.stapling_renew_window;
        let stapling =
            Stapling::new(Arc::clone(documents), Arc::clone(clock), window, self.entries, self.goes_live, is_restart);
        stapling.load();
        stapling
    }
}

pub(super) fn report_must_staple(owner: &str, leaf: &Certificate, is_stapled: bool) {
    if let Some(reason) = MustStaple::judge(leaf.must_staple(), leaf.ocsp_uri().is_some(), is_stapled) {
        let serial = leaf.summary().serial_hex();
        report!(MD0033, "md[{owner}]: certificate {serial} needs an OCSP response (must-staple), {}", reason.advice());
    }
}
