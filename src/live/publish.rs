//! Makes a renewal that is staged the set that is served, without a start.

use jiff::Timestamp;

use super::{LiveSets, LiveSlot, Reading, lock};
use crate::acme::PortError;
use crate::crypto::Summary;
use crate::documents::port_error;
use crate::model::{Job, ManagedDomain, State};
use crate::sets::choice::{Candidate, Choice, Found, choose};
use crate::sets::{CertificateSet, Pair, PairSet, staged};
use crate::stapling::Unstapled;
use crate::store::{Aspect, Group};

/// What became of a staged set.
#[derive(Debug, Clone, PartialEq)]
pub enum Published {
    /// It is served by this process, and by all others with their next handshake.
    Live(Vec<Summary>),
    /// There is nothing new.
    Nothing,
    /// It is served from this moment on, if somebody asks again then.
    NotBefore(Timestamp),
    /// It waits for a response that clients insist on.
    Unstapled(Unstapled),
    /// It is not complete, for this reason.
    Incomplete(String),
    /// It cannot be served, for this reason.
    Unusable(String),
}

impl LiveSets {
    /// Has all processes serve what is staged for the domain at `position`, if it is complete, verifies and its time has come
    /// (`MDActivationDelay`, and the dates of the certificates). `started` is what the server has set up at its start. The caller
    /// has the claim on the staging directory. `ready` says whether all is there to staple the set.
    ///
    /// What is served stays in every other case.
    ///
    /// # Errors
    /// If the set cannot be written.
    pub fn publish(
        &self,
        position: usize,
        started: &CertificateSet,
        now: Timestamp,
        ready: impl FnOnce(&PairSet) -> Result<(), Unstapled>,
    ) -> Result<Published, PortError> {
        let Some(slot) = self.slot(position) else { return Ok(Published::Nothing) };
        let pair_set = match self.assemble(slot, started, now) {
            Ok(pair_set) => pair_set,
            Err(other) => return Ok(other),
        };
        self.put(position, slot, &pair_set, now, ready)
    }

    /// Writes a set, once `ready` allows that, and has all processes serve it, on this machine and on others.
    pub(super) fn put(
        &self,
        position: usize,
        slot: &LiveSlot,
        pair_set: &PairSet,
        now: Timestamp,
        ready: impl FnOnce(&PairSet) -> Result<(), Unstapled>,
    ) -> Result<Published, PortError> {
        let (name, store) = (slot.md.name.as_str(), self.documents.store());
        let text = pair_set.to_json(store.secret())?;
        // What goes out is what is looked at, not what it was made from.
        if let Err(err) = PairSet::from_json(&text, store.secret(), &slot.md, now) {
            return Ok(Published::Unusable(err.to_string()));
        }
        if let Err(lack) = ready(pair_set) {
            return Ok(Published::Unstapled(lack));
        }
        store.save(Group::Live, name, &Aspect::LiveJson, &text).map_err(port_error)?;
        self.announce(position);
        self.bump();
        self.read(slot, &mut lock(&slot.known), Reading::Change);
        Ok(Published::Live(pair_set.pairs.iter().map(|pair| pair.chain.leaf().summary()).collect()))
    }

    /// What is staged; for types of key that needed nothing, what is live; and nothing for those that the server has had since
    /// its start.
    fn assemble(&self, slot: &LiveSlot, started: &CertificateSet, now: Timestamp) -> Result<PairSet, Published> {
        let md = &*slot.md;
        let name = md.name.as_str();
        let documents = &*self.documents;
        let job: Job = documents.load_json(Group::Staging, name, &Aspect::JobJson).unwrap_or_default();
        let begun: Option<ManagedDomain> = documents.load_json(Group::Staging, name, &Aspect::MdJson);
        let Some(ca_url) = begun.and_then(|begun| begun.ca.url.clone()) else { return Err(Published::Nothing) };
        let live = self.stored(slot, now);
        let mut pairs = Vec::new();
        let mut from = None;
        for (number, spec) in md.key_specs().0.into_iter().enumerate() {
            let found = Found {
                staged: staged::outcome(documents, md, &spec, job.finished, now),
                // One that somebody else has renewed in between goes first.
                live: live.as_ref().and_then(|live| live.pair(&spec)).map(|pair| Candidate::of(pair.clone(), None)),
                stored: None,
                at_start: slot.good_since_start(started, number, &spec),
            };
            match choose(found, now) {
                Choice::Staged(pair) => {
                    from = from.max(Some(pair.chain.leaf().not_before()));
                    pairs.push(pair);
                }
                Choice::Live(pair) | Choice::Stored(pair) => pairs.push(pair),
                Choice::AtStart => {}
                Choice::Damaged(reason) => return Err(Published::Unusable(reason)),
                Choice::Awaited(reason) | Choice::Missing(reason) => return Err(Published::Incomplete(reason)),
            }
        }
        let Some(from) = from else { return Err(Published::Nothing) };
        let is_known = |pair: &Pair| {
            live.as_ref().and_then(|live| live.pair(&pair.spec)).is_some_and(|live| live.chain == pair.chain)
        };
        if pairs.iter().all(is_known) {
            return Err(Published::Nothing);
        }
        let at = job.valid_from.map_or(from, |at| at.max(from));
        let is_served = live.is_some() || slot.served().is_some() || started.state == Some(State::Complete);
        if is_served && at > now {
            return Err(Published::NotBefore(at));
        }
        Ok(PairSet { ca_url: Some(ca_url), account_url: job.account_url, pairs })
    }

    /// The set that is live, as the store has it.
    pub(super) fn stored(&self, slot: &LiveSlot, now: Timestamp) -> Option<PairSet> {
        let store = self.documents.store();
        let text = store.load(Group::Live, slot.md.name.as_str(), &Aspect::LiveJson).ok()??;
        PairSet::from_json(&text, store.secret(), &slot.md, now).ok()
    }
}
