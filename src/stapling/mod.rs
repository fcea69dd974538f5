//! OCSP stapling: the certificates that are stapled, and their OCSP responses, which handshakes take from memory.
//!
//! A start adds every certificate and reads the responses of the store. One process fetches responses that are due, writes them to
//! the store and raises counters in shared memory; the other processes then read these responses. A handshake finds its certificate
//! in a table, which changes only when certificates go live, and locks only that entry. The process that makes certificates go
//! live has their responses in the store before; each process adopts both when it reads the set.
#![forbid(unsafe_code)]

mod before_live;
mod collect;
mod must_staple;
mod queue;
mod report;
mod stored;
mod table;
mod work;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::crypto::{Certificate, Chain, OcspIssuer, Revocation, Summary};
use crate::documents::{CLEANING, Documents};
use crate::log::{note, report};
use crate::model::{DomainName, Globals, Job, ManagedDomain, Window, time};
use crate::ocsp::Validity;
use crate::stapling::report::Reports;
use crate::stapling::table::Table;
use crate::store::{Aspect, Group};
use stored::Found;

pub use before_live::Unstapled;
pub(crate) use collect::{Collector, is_stapled};
pub use stored::revocation_name;
pub use work::{OcspClient, StaplingWork};

/// The owner of certificates that belong to no managed domain.
pub const OTHER: &str = "other";

/// The time of which `MDStaplingKeepResponse` may be a percentage.
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Number of counters for certificates that go live. Certificates that share a counter are read again together.
const LIVE_SIGNALS: usize = 1 << 10;

/// SHA-1 of a certificate's DER, by which the TLS module asks for its response.
pub type Sha1 = [u8; 20];

/// The answer to the TLS module that asks for a certificate's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Staple {
    /// The certificate is not stapled by this module; another module may have a response.
    NotOurs,
    /// There is no valid response.
    None,
    /// The OCSP response, in DER.
    Response(Arc<[u8]>),
}

/// A stapled certificate, as status pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StapleView {
    /// The managed domain that has the certificate, or [`OTHER`].
    pub owner: String,
    /// Fingerprint of the certificate.
    pub sha1: Sha1,
    /// URL of the OCSP responder.
    pub responder: Arc<str>,
    /// Revocation status in the last response; unknown if there was no response.
    pub revocation: Revocation,
    /// Validity of the last response.
    pub validity: Option<Validity>,
    /// When the next response is fetched, unless a request fails.
    pub refresh_at: Option<Timestamp>,
}

/// All certificates of this server that are stapled, and their responses in this process.
pub struct Stapling {
    documents: Arc<Documents>,
    clock: Arc<dyn Clock>,
    /// `MDStaplingRenewWindow`
    window: Window,
    /// The stapled certificates. Locked briefly, and never while files are read.
    table: RwLock<Table>,
    /// Domains whose certificates are also stapled when they go live.
    goes_live: HashSet<DomainName>,
    /// Number of certificates that the start has added.
    primed: usize,
    /// Whether the start was a restart of a running server.
    is_restart: bool,
    /// Makes HTTP clients that fetch responses before certificates go live.
    client: OnceLock<OcspClient>,
    /// Failed attempts in a row, by domains that wait to go live.
    waits: Mutex<HashMap<DomainName, u32>>,
    /// Counters of fetched responses: the first for all, then one for each entry of the start, then those of entries that went
    /// live.
    signals: OnceLock<&'static [AtomicU32]>,
    /// Value of the first counter when this process last read responses.
    seen: AtomicU32,
    /// Number of certificates that this process has found to be revoked.
    findings: AtomicU32,
    reports: Reports,
}

/// A certificate that is stapled. Only `held` and `seen` change.
struct StapledCertificate {
    /// Number of the entry in the table.
    index: usize,
    /// Position of the counter for this entry.
    signal: usize,
    /// Whether the certificate went live after the start.
    went_live: bool,
    /// Whether the hosts of the domain have this certificate from us, so that one that goes live replaces it.
    is_managed: bool,
    owner: Option<DomainName>,
    sha1: Sha1,
    leaf: Certificate,
    sha256: String,
    issuer: Arc<OcspIssuer>,
    responder: Arc<str>,
    held: RwLock<Held>,
    /// Value of the counter for this entry when `held` was read.
    seen: AtomicU32,
}

/// The last response, as this process holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    /// The response in DER; `None` once it has expired.
    response: Option<Arc<[u8]>>,
    revocation: Option<Revocation>,
    validity: Option<Validity>,
    /// When the file of the response was written.
    written: Option<Timestamp>,
}

impl fmt::Debug for Stapling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stapling of {} certificates", self.table().len())
    }
}

impl Held {
    fn is_good(&self, now: Timestamp) -> bool {
        self.response.is_some() && self.validity.is_some_and(|(_, until)| until > now)
    }
}

impl StapledCertificate {
    fn owner(&self) -> &str {
        self.owner.as_ref().map_or(OTHER, DomainName::as_str)
    }

    fn serial(&self) -> String {
        self.leaf.summary().serial_hex()
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_revoked(&self) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).revocation == Some(Revocation::Revoked)
    }
}

impl Stapling {
    fn new(
        documents: Arc<Documents>,
        clock: Arc<dyn Clock>,
        window: Window,
        entries: Vec<StapledCertificate>,
        goes_live: HashSet<DomainName>,
        is_restart: bool,
    ) -> Self {
        Self {
            documents,
            clock,
            window,
            primed: entries.len(),
            table: RwLock::new(Table::new(entries)),
            goes_live,
            is_restart,
            client: OnceLock::new(),
            waits: Mutex::default(),
            signals: OnceLock::new(),
            seen: AtomicU32::new(0),
            findings: AtomicU32::new(0),
            reports: Reports::default(),
        }
    }

    /// Makes stapling without certificates, for a program that staples nothing.
    #[must_use]
    pub fn none(documents: Arc<Documents>, clock: Arc<dyn Clock>) -> Self {
        Self::new(documents, clock, Globals::default().stapling_renew_window, Vec::new(), HashSet::new(), false)
    }

    /// Checks whether no certificate is stapled, and none will be when it goes live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table().len() == 0 && self.goes_live.is_empty()
    }

    /// Returns the number of counters that [`Stapling::share`] needs.
    #[must_use]
    pub fn signals_needed(&self) -> usize {
        1 + self.primed + if self.goes_live.is_empty() { 0 } else { LIVE_SIGNALS }
    }

    /// Sets the counters by which processes learn of responses that another process fetched: zeros, in memory that this process
    /// shares with all that are forked from it. Called once, before the first fork.
    pub fn share(&self, signals: &'static [AtomicU32]) {
        // The first counters stay, as other processes may have been forked with them.
        let _ = self.signals.set(signals);
    }

    /// Returns the valid response for the certificate with this fingerprint, from memory.
    #[must_use]
    pub fn staple(&self, sha1: &Sha1, now: Timestamp) -> Staple {
        let table = self.table();
        let Some(entry) = table.by_sha1(sha1) else { return Staple::NotOurs };
        let held = entry.held.read().unwrap_or_else(PoisonError::into_inner);
        match &held.response {
            Some(response) if held.is_good(now) => Staple::Response(Arc::clone(response)),
            _ => Staple::None,
        }
    }

    /// Checks whether another process has fetched a response that this one has not read. Reads shared memory only.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.signal(0) != self.seen.load(Ordering::Relaxed)
    }

    /// Reads the responses that other processes have fetched from the store. Returns their number.
    pub fn refresh(&self) -> usize {
        let all = self.signal(0);
        if all == self.seen.load(Ordering::Relaxed) {
            return 0;
        }
        let mut read = 0;
        for entry in self.all() {
            let signal = self.signal(entry.signal);
            if signal != entry.seen.swap(signal, Ordering::Relaxed) {
                read += 1;
                match self.read_stored(&entry) {
                    Found::Held(held) => self.hold(&entry, held),
                    Found::Nothing | Found::Unusable(_) => {
                        note!(
                            Debug,
                            "{}: the new OCSP response for certificate {} cannot be read",
                            entry.owner(),
                            entry.serial()
                        );
                    }
                }
            }
        }
        self.seen.store(all, Ordering::Relaxed);
        read
    }

    /// Checks whether an OCSP response says that this certificate of the domain is revoked.
    #[must_use]
    pub fn is_revoked(&self, owner: &str, certificate: &Summary) -> bool {
        self.findings() > 0 && self.table().find(owner, certificate).is_some_and(|entry| entry.is_revoked())
    }

    /// Returns a number that grows whenever this process finds that a certificate is revoked.
    #[must_use]
    pub fn findings(&self) -> u32 {
        self.findings.load(Ordering::Relaxed)
    }

    /// Returns the status of a certificate of this domain; `None` if it is not stapled.
    #[must_use]
    pub fn view_of(&self, owner: &str, certificate: &Summary) -> Option<StapleView> {
        let entry = Arc::clone(self.table().find(owner, certificate)?);
        Some(self.view(&entry))
    }

    /// Returns the status of all certificates, sorted by owner and fingerprint.
    #[must_use]
    pub fn views(&self) -> Vec<StapleView> {
        let mut views: Vec<_> = self.all().iter().map(|entry| self.view(entry)).collect();
        views.sort_by(|a, b| (&a.owner, &a.sha1).cmp(&(&b.owner, &b.sha1)));
        views
    }

    /// Returns the job of fetching responses for this owner, if there is one. The file is read only if it has changed.
    #[must_use]
    pub fn job(&self, owner: &str) -> Option<Arc<Job>> {
        self.reports.of(&self.documents, owner, self.clock.now())
    }

    fn view(&self, entry: &StapledCertificate) -> StapleView {
        let held = entry.held();
        StapleView {
            owner: entry.owner().to_owned(),
            sha1: entry.sha1,
            responder: Arc::clone(&entry.responder),
            revocation: held.revocation.unwrap_or(Revocation::Unknown),
            validity: held.validity,
            refresh_at: held.validity.map(|(from, until)| self.window.opens(from, until)),
        }
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all certificates that are stapled now.
    fn all(&self) -> Vec<Arc<StapledCertificate>> {
        self.table().iter().map(Arc::clone).collect()
    }

    /// Adds certificates that a domain serves from now on, with their responses in the store, and drops those that they replace.
    /// `is_whole` says that the domain serves no others. Called before a handshake sends one of them.
    pub fn adopt<'a>(&self, md: &ManagedDomain, chains: impl Iterator<Item = &'a Chain>, is_whole: bool) {
        if !self.goes_live.contains(&md.name) {
            return;
        }
        let mut served = Vec::new();
        let mut new = Vec::new();
        for chain in chains {
            let leaf = chain.leaf();
            served.push(leaf.sha1());
            if self.table().find(md.name.as_str(), &leaf.summary()).is_none() {
                new.extend(self.entry(md, chain).inspect(|entry| self.read(entry)));
            }
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.serve(md.name.as_str(), &served, is_whole, new);
    }

    /// Returns an entry for a certificate that goes live after the start; `None` if it cannot be stapled.
    fn entry(&self, md: &ManagedDomain, chain: &Chain) -> Option<StapledCertificate> {
        let leaf = chain.leaf();
        let issuer = chain.certificates().get(1)?;
        let sha1 = leaf.sha1();
        let [a, b, ..] = sha1;
        let signal = 1 + self.primed + usize::from(u16::from_be_bytes([a, b])) % LIVE_SIGNALS;
        Some(StapledCertificate {
            index: 0,
            signal,
            went_live: true,
            is_managed: true,
            owner: Some(md.name.clone()),
            sha1,
            sha256: leaf.summary().sha256_fingerprint(),
            leaf: leaf.clone(),
            issuer: Arc::new(OcspIssuer::new(issuer).ok()?),
            responder: leaf.ocsp_uri()?.into(),
            held: RwLock::default(),
            // Taken before the file is read, so that a response that is fetched meanwhile is read again.
            seen: AtomicU32::new(self.signal(signal)),
        })
    }

    /// Takes the response in the store for a certificate that is not served yet.
    fn read(&self, entry: &StapledCertificate) {
        match self.read_stored(entry) {
            Found::Held(held) => self.hold(entry, held),
            Found::Nothing => {}
            Found::Unusable(reason) => {
                note!(
                    Debug,
                    "{}: the stored OCSP response for certificate {} cannot be used: {reason}",
                    entry.owner(),
                    entry.serial()
                );
            }
        }
    }

    fn signal(&self, slot: usize) -> u32 {
        let slots = self.signals.get().copied().unwrap_or_default();
        slots.get(slot).map_or(0, |slot| slot.load(Ordering::Acquire))
    }

    /// Signals to other processes that the store has a new response.
    fn announce(&self, entry: &StapledCertificate) {
        let slots = self.signals.get().copied().unwrap_or_default();
        let (Some(all), Some(slot)) = (slots.first(), slots.get(entry.signal)) else { return };
        let signal = slot.fetch_add(1, Ordering::Release).wrapping_add(1);
        entry.seen.store(signal, Ordering::Relaxed);
        all.fetch_add(1, Ordering::Release);
    }

    fn read_stored(&self, entry: &StapledCertificate) -> Found {
        stored::load(&self.documents, entry, self.clock.now())
    }

    fn hold(&self, entry: &StapledCertificate, new: Held) {
        let is_revoked = new.revocation == Some(Revocation::Revoked);
        let mut held = entry.held.write().unwrap_or_else(PoisonError::into_inner);
        let was_revoked = held.revocation == Some(Revocation::Revoked);
        *held = new;
        drop(held);
        if is_revoked && !was_revoked {
            self.findings.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes the responses in the store for all certificates, if they are valid.
    fn load(&self) {
        for entry in self.all() {
            match self.read_stored(&entry) {
                Found::Held(held) => self.hold(&entry, held),
                Found::Nothing => continue,
                Found::Unusable(reason) => report!(
                    MD0032,
                    "{}: the stored OCSP response for certificate {} cannot be used, a new one is fetched: {reason}",
                    entry.owner(),
                    entry.serial()
                ),
            }
            if entry.is_revoked() {
                report_revoked(&entry);
            }
        }
    }

    /// Removes responses from the store that are older than `MDStaplingKeepResponse`, except those in use.
    pub(crate) fn clean_up(&self, globals: &Globals) {
        let responses = self.documents.store().ocsp_responses().unwrap_or_else(|err| {
            report!(MD0028, err.status(); "old OCSP responses are not removed: {err}");
            Vec::new()
        });
        if responses.is_empty() {
            return;
        }
        let now = self.clock.now();
        let Ok(before) = now.checked_sub(globals.keep_response.length(WEEK)) else { return };
        let until = Instant::now() + CLEANING;
        let old = responses.iter().filter(|(_, _, written)| *written < before);
        for (item, sha1, _) in old.take_while(|_| Instant::now() < until) {
            if self.is_in_use(item, sha1, now) {
                continue;
            }
            match self.documents.store().remove_lazily(Group::Ocsp, item, &Aspect::OcspJson(*sha1)) {
                Ok(()) => note!(Debug, "{item}: an OCSP response from before {} is removed", time::format_gmt(before)),
                Err(err) => report!(MD0028, err.status(); "{item}: an old OCSP response is not removed: {err}"),
            }
        }
    }

    /// Checks whether a response is in use. One that says a certificate is revoked is kept, as the responder may be gone.
    fn is_in_use(&self, item: &str, sha1: &Sha1, now: Timestamp) -> bool {
        let entry = self.table().by_sha1(sha1).map(Arc::clone);
        entry.is_some_and(|entry| entry.owner() == item && (entry.is_revoked() || entry.held().is_good(now)))
    }
}

fn report_revoked(entry: &StapledCertificate) {
    let consequence = match &entry.owner {
        Some(_) => "clients refuse it; it is renewed with a new key, unless MDCertificateFile names it",
        None => "clients refuse it; obtain a new one and restart the server",
    };
    report!(MD0030, "{}: the CA has revoked certificate {}: {consequence}", entry.owner(), entry.serial());
}

#[cfg(test)]
mod tests;
