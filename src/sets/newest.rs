//! The newest pair of each type of key that a domain has, in `live/` or in `domains/`.

use jiff::Timestamp;

use super::choice::{Candidate, Choice, Found, Staged, choose};
use super::pairs::{Pair, PairSet, PairSetError};
use super::served::read_chain;
use crate::crypto::Chain;
use crate::documents::Documents;
use crate::log::note;
use crate::model::{KeySpec, ManagedDomain};
use crate::schedule::Validity;
use crate::store::{Aspect, Group, StoreError};

/// A set in `live/`.
pub(crate) struct LiveFile {
    pub(crate) pair_set: PairSet,
    written: Option<Timestamp>,
}

/// Why what is in `live/` cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// The store fails.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The file is not a set that can be read.
    #[error("{0}")]
    Form(#[from] PairSetError),
}

impl LiveFile {
    /// Reads what is live for the domain, whether it has all that the domain is to have now or not; `None` if there is nothing for its
    /// types of key.
    pub(crate) fn load(documents: &Documents, md: &ManagedDomain) -> Result<Option<Self>, Unreadable> {
        let store = documents.store();
        let name = md.name.as_str();
        let Some(text) = store.load(Group::Live, name, &Aspect::LiveJson)? else { return Ok(None) };
        let written = store.modified(Group::Live, name, &Aspect::LiveJson);
        Ok(PairSet::kept(&text, store.secret(), md)?.map(|pair_set| Self { pair_set, written }))
    }

    /// From the latest beginning of a certificate to the earliest end.
    pub(crate) fn validity(&self) -> Option<Validity> {
        self.pair_set.validity()
    }

    /// Whether it has this certificate.
    pub(crate) fn has(&self, spec: &KeySpec, chain: &Chain) -> bool {
        self.pair_set.pair(spec).is_some_and(|pair| pair.chain.leaf() == chain.leaf())
    }

    /// The pair for a key type.
    pub(crate) fn candidate(&self, spec: &KeySpec) -> Option<Candidate<Pair>> {
        Some(Candidate::of(self.pair_set.pair(spec)?.clone(), self.written))
    }
}

/// Returns the newest pair for a key type that is live or in `domains/`.
pub(crate) fn newest(
    documents: &Documents,
    md: &ManagedDomain,
    spec: &KeySpec,
    live: Option<&LiveFile>,
    now: Timestamp,
) -> Option<Pair> {
    let live = live.and_then(|live| live.candidate(spec));
    let stored = stored_candidate(documents, md, spec);
    match choose(Found { staged: Staged::NoRenewal, live, stored, at_start: None }, now) {
        Choice::Live(pair) | Choice::Stored(pair) => Some(pair),
        _ => None,
    }
}

/// Returns what the server serves of a domain: the newest pair of each key type, live or in `domains/`.
#[must_use]
pub fn served_pairs(documents: &Documents, md: &ManagedDomain, now: Timestamp) -> Vec<Pair> {
    let live = LiveFile::load(documents, md)
        .inspect_err(|err| note!(Error, "{}: what is in live/ is ignored: {err}", md.name))
        .unwrap_or_default();
    let specs = md.key_specs().0;
    specs.iter().filter_map(|spec| newest(documents, md, spec, live.as_ref(), now)).collect()
}

/// The pair in `domains/` for a key type, with the time of its writing.
pub(crate) fn stored_candidate(documents: &Documents, md: &ManagedDomain, spec: &KeySpec) -> Option<Candidate<Pair>> {
    let pair = stored(documents, md, spec)?;
    let written = documents.store().modified(Group::Domains, md.name.as_str(), &Aspect::Chain(spec.clone()));
    Some(Candidate::of(pair, written))
}

/// The key and the chain in `domains/` for a type of key, if they fit each other.
pub(crate) fn stored(documents: &Documents, md: &ManagedDomain, spec: &KeySpec) -> Option<Pair> {
    let chain = read_chain(documents, Group::Domains, md, spec).ok()?;
    let key = documents.load_key(Group::Domains, md.name.as_str(), &Aspect::PrivateKey(spec.clone()))?;
    key.fits(chain.leaf()).then(|| Pair { spec: spec.clone(), key, chain })
}
