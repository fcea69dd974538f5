//! Makes a renewal that is staged the set that is served, without a start.

use jiff::Timestamp;

use super::{LiveSets, LiveSlot, Reading, lock};
use crate::acme::PortError;
use crate::crypto::Summary;
use crate::documents::port_error;
use crate::model::{Job, State};
use crate::sets::choice::{Candidate, Choice, Found, choose};
use crate::sets::{CertificateSet, Pair, PairSet, staged};
use crate::stapling::Unstapled;
use crate::store::{Aspect, Group};

/// The outcome of an attempt to serve a set without a start.
#[derive(Debug, Clone, PartialEq)]
pub enum Published {
    /// The set with these certificates is served: by this process now, by all others with their next handshake.
    Live(Vec<Summary>),
    /// The set that was served before stays, for this reason.
    NotNow(NotNow),
}

/// Why no other set is served now.
#[derive(Debug, Clone, PartialEq)]
pub enum NotNow {
    /// There is nothing new.
    NothingNew,
    /// The set is to be served from this moment on; nobody else waits for it.
    NotBefore(Timestamp),
    /// Clients insist on an OCSP response that is not there.
    Unstapled(Unstapled),
    /// The set is not complete, for this reason.
    Incomplete(String),
    /// The set cannot be served, for this reason.
    Unusable(String),
}

/// A renewal whose certificates are to be served.
pub struct Renewed<'a> {
    /// The report on the renewal.
    pub job: &'a Job,
    /// Directory URL of the CA that the renewal went to; `None` if no renewal was begun.
    pub ca_url: Option<&'a str>,
}

impl LiveSets {
    /// Makes all processes serve what is staged for the domain at `position`, if it is complete, verifies and its time has come
    /// (`MDActivationDelay`, and the dates of the certificates). `started` is the set that the server has set up at its start. The
    /// caller has the claim on the staging directory. `ready` says whether all is there to staple the set.
    ///
    /// # Errors
    /// If the set cannot be written.
    pub fn publish(
        &self,
        position: usize,
        started: &CertificateSet,
        renewed: &Renewed<'_>,
        now: Timestamp,
        ready: impl FnOnce(&PairSet) -> Result<(), Unstapled>,
    ) -> Result<Published, PortError> {
        let Some(slot) = self.slot(position) else { return Ok(Published::NotNow(NotNow::NothingNew)) };
        match self.assemble(slot, started, renewed, now) {
            Ok(pair_set) => self.put(position, slot, &pair_set, now, ready),
            Err(reason) => Ok(Published::NotNow(reason)),
        }
    }

    /// Writes a set, once `ready` allows that, and makes all processes serve it, on this machine and on others.
    pub(super) fn put(
        &self,
        position: usize,
        slot: &LiveSlot,
        pair_set: &PairSet,
        now: Timestamp,
        ready: impl FnOnce(&PairSet) -> Result<(), Unstapled>,
    ) -> Result<Published, PortError> {
        let name = slot.md.name.as_str();
        let store = self.documents.store();
        let text = pair_set.to_json(store.secret(), name)?;
        // What goes out is what is looked at, not what it was made from.
        if let Err(err) = PairSet::from_json(&text, store.secret(), &slot.md, now) {
            return Ok(Published::NotNow(NotNow::Unusable(err.to_string())));
        }
        if let Err(lack) = ready(pair_set) {
            return Ok(Published::NotNow(NotNow::Unstapled(lack)));
        }
        store.save(Group::Live, name, &Aspect::LiveJson, &text).map_err(port_error)?;
        self.announce(position);
        self.bump();
        self.read(slot, &mut lock(&slot.known), Reading::Change);
        Ok(Published::Live(pair_set.pairs.iter().map(|pair| pair.chain.leaf().summary()).collect()))
    }

    /// Puts together the pairs that are staged and, for key types that needed no new one, those that are live. Left out are key
    /// types for which the server has used a good certificate since its start.
    fn assemble(
        &self,
        slot: &LiveSlot,
        started: &CertificateSet,
        renewed: &Renewed<'_>,
        now: Timestamp,
    ) -> Result<PairSet, NotNow> {
        let md = &*slot.md;
        let Renewed { job, ca_url: Some(ca_url) } = renewed else { return Err(NotNow::NothingNew) };
        let live = self.stored(slot, now);
        let mut pairs = Vec::new();
        let mut from = None;
        for (number, spec) in md.key_specs().0.into_iter().enumerate() {
            let found = Found {
                staged: staged::outcome(&self.documents, md, &spec, job.finished, now),
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
                Choice::Damaged(reason) => return Err(NotNow::Unusable(reason)),
                Choice::Awaited(reason) | Choice::Missing(reason) => return Err(NotNow::Incomplete(reason)),
            }
        }
        let Some(from) = from else { return Err(NotNow::NothingNew) };
        let is_known = |pair: &Pair| {
            live.as_ref().and_then(|live| live.pair(&pair.spec)).is_some_and(|live| live.chain == pair.chain)
        };
        if pairs.iter().all(is_known) {
            return Err(NotNow::NothingNew);
        }
        let at = job.valid_from.map_or(from, |at| at.max(from));
        let is_served = live.is_some() || slot.served().is_some() || started.state == Some(State::Complete);
        if is_served && at > now {
            return Err(NotNow::NotBefore(at));
        }
        Ok(PairSet { ca_url: Some((*ca_url).to_owned()), account_url: job.account_url.clone(), pairs })
    }

    /// Returns the set that is live, as the store has it.
    pub(super) fn stored(&self, slot: &LiveSlot, now: Timestamp) -> Option<PairSet> {
        let store = self.documents.store();
        let text = store.load(Group::Live, slot.md.name.as_str(), &Aspect::LiveJson).ok()??;
        PairSet::from_json(&text, store.secret(), &slot.md, now).ok()
    }
}
