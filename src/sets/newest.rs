//! The newest pair of each type of key that a domain has, in `live/` or in `domains/`.

use jiff::Timestamp;

use super::pairs::{Pair, PairSet, PairSetError};
use super::served::read_chain;
use crate::crypto::Chain;
use crate::documents::Documents;
use crate::log::note;
use crate::model::{KeySpec, ManagedDomain};
use crate::schedule::Validity;
use crate::store::{Aspect, Group, StoreError};

/// A set in `live/`.
pub(crate) struct Live {
    pub(crate) pair_set: PairSet,
    written: Option<Timestamp>,
}

/// Why what is in `live/` cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// The store fails.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// It is no set.
    #[error("{0}")]
    Form(#[from] PairSetError),
}

impl Live {
    /// What is live for the domain, whether it has all that the domain is to have now or not; `None` if there is nothing for its
    /// types of key.
    pub(crate) fn load(documents: &Documents, md: &ManagedDomain) -> Result<Option<Self>, Unreadable> {
        let (store, name) = (documents.store(), md.name.as_str());
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

    /// What is live for a type of key, if it is newer than that other pair.
    pub(crate) fn newer(&self, than: &Pair, written: Option<Timestamp>, now: Timestamp) -> Option<&Pair> {
        let pair = self.pair_set.pair(&than.spec)?;
        let is_newer = rank(pair, self.written, now) > rank(than, written, now);
        (is_newer && pair.chain.leaf() != than.chain.leaf()).then_some(pair)
    }
}

/// Of two certificates the greater one is served: one that has not expired, else the one that begins later. Some CAs have all
/// of a day begin at the same moment: then it is the one that was written later.
fn rank(pair: &Pair, written: Option<Timestamp>, now: Timestamp) -> (bool, Timestamp, Option<Timestamp>) {
    let leaf = pair.chain.leaf();
    (now < leaf.not_after(), leaf.not_before(), written)
}

/// The newest pair for a type of key that is live or in `domains/`, of those that are good for the purpose.
pub(crate) fn newest(
    documents: &Documents,
    md: &ManagedDomain,
    spec: &KeySpec,
    live: Option<&Live>,
    now: Timestamp,
    is_good: impl Fn(&Pair) -> bool,
) -> Option<Pair> {
    let stored = stored(documents, md, spec).filter(&is_good);
    let live = live.filter(|live| live.pair_set.pair(spec).is_some_and(&is_good));
    match (live, stored) {
        (Some(live), Some(stored)) => {
            let written = documents.store().modified(Group::Domains, md.name.as_str(), &Aspect::Chain(spec.clone()));
            Some(live.newer(&stored, written, now).cloned().unwrap_or(stored))
        }
        (Some(live), None) => live.pair_set.pair(spec).cloned(),
        (None, stored) => stored,
    }
}

/// What the server serves of a domain: the newest pair of each type of key, live or in `domains/`.
#[must_use]
pub fn served_pairs(documents: &Documents, md: &ManagedDomain, now: Timestamp) -> Vec<Pair> {
    let live = Live::load(documents, md)
        .inspect_err(|err| note!(Error, "{}: what is in live/ is ignored: {err}", md.name))
        .unwrap_or_default();
    let specs = md.key_specs().0;
    specs.iter().filter_map(|spec| newest(documents, md, spec, live.as_ref(), now, |_| true)).collect()
}

/// The key and the chain in `domains/` for a type of key, if they fit each other.
pub(crate) fn stored(documents: &Documents, md: &ManagedDomain, spec: &KeySpec) -> Option<Pair> {
    let chain = read_chain(documents.store(), Group::Domains, md, spec).ok()?;
    let key = documents.load_key(Group::Domains, md.name.as_str(), &Aspect::PrivateKey(spec.clone()))?;
    key.fits(chain.leaf()).then(|| Pair { spec: spec.clone(), key, chain })
}
