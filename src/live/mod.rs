//! Sets that are served without a start (`MDActivation live`): each process keeps them in memory, and a counter of each domain
//! in memory that all processes share tells that there is another one in the store.
//!
//! Whoever has a new set writes it, in one file, and then counts. A handshake looks at one counter; only when that has moved
//! the first to come reads the file, while others go on with what they have. Counters never go back and have the same place in
//! every generation of the server, so that children learn which still have connections of an earlier one.
#![forbid(unsafe_code)]

mod copied;
mod foreign;
mod publish;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use jiff::Timestamp;

use crate::acme::PortError;
use crate::clock::Clock;
use crate::crypto::{TlsPair, sha256};
use crate::documents::{Documents, port_error};
use crate::log::{note, report};
use crate::model::{KeySpec, ManagedDomain, Status};
use crate::schedule::Validity;
use crate::sets::{CertificateSet, PairSet, TlsSet, choice};
use crate::stapling::Stapling;
use crate::store::{Aspect, Group, Watch};

pub use copied::AtStart;
pub use publish::{NotNow, Published, Renewed};

/// How many counters there are for domains. Two domains may have the same one, and then look once more than they need to.
const DOMAINS: usize = 1 << 14;

/// The sets served under `MDActivation live`, one slot per domain.
pub struct LiveSets {
    documents: Arc<Documents>,
    clock: Arc<dyn Clock>,
    /// Slots in the order of the registry, `None` where sets do not go live.
    slots: Vec<Option<Arc<LiveSlot>>>,
    /// The stapling of what is served.
    stapling: OnceLock<Arc<Stapling>>,
    /// The function that readies a pair for handshakes.
    share_key: OnceLock<fn(&mut TlsPair) -> bool>,
    counters: OnceLock<&'static [AtomicU32]>,
    /// Whether other servers use the store, which therefore write sets, too.
    expects_others: OnceLock<bool>,
    /// The counter of all when this process last looked at all.
    seen: AtomicU32,
    /// There is a set that could not be read.
    failed: AtomicBool,
    /// Words for children that have no shared memory.
    own_words: [AtomicU32; foreign::WORDS],
    /// When the sets of the store were read.
    opened: OnceLock<Timestamp>,
    /// The watch of `live/`, whose news all children of this start share.
    watch: OnceLock<Arc<dyn Watch>>,
    round: Mutex<copied::Round>,
}

/// The set of one domain.
#[derive(Debug)]
pub struct LiveSlot {
    md: Arc<ManagedDomain>,
    counter: usize,
    served: RwLock<Option<Arc<TlsSet>>>,
    /// The counter before the file was last read.
    seen: AtomicU32,
    /// The file could not be read or used, which is in the log.
    failed: AtomicBool,
    /// Had by who reads the file: the digest of what it held when it was last good.
    known: Mutex<Option<[u8; 32]>>,
    /// The span in which all certificates are good that the start has set up.
    started: Option<Validity>,
    /// When the file was written that was read last.
    written: foreign::Written,
    copied: Mutex<copied::Copied>,
}

/// How a process reads a set.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    /// Takes a set that was live before the start, unless something newer is in `domains/`.
    Start,
    /// Takes a set that was written since the start.
    Change,
}

impl LiveSets {
    /// How many counters [`LiveSets::open`] takes: one for all domains, those of single ones, and some for those who look for
    /// sets of others.
    pub const COUNTERS: usize = 1 + DOMAINS + foreign::WORDS;

    /// Makes the slots of these domains, in the order of the registry. No set is known until [`LiveSets::open`].
    #[must_use]
    pub fn new(documents: Arc<Documents>, clock: Arc<dyn Clock>, slots: Vec<Option<Arc<LiveSlot>>>) -> Self {
        Self {
            documents,
            clock,
            slots,
            stapling: OnceLock::new(),
            share_key: OnceLock::new(),
            counters: OnceLock::new(),
            expects_others: OnceLock::new(),
            seen: AtomicU32::new(0),
            failed: AtomicBool::new(false),
            own_words: Default::default(),
            opened: OnceLock::new(),
            watch: OnceLock::new(),
            round: Mutex::default(),
        }
    }

    /// Staples certificates from when they are served. Called before [`LiveSets::open`].
    pub fn staple_by(&self, stapling: &Arc<Stapling>) {
        let _ = self.stapling.set(Arc::clone(stapling));
    }

    /// Shares the keys of certificates by this, for those who make handshakes ([`TlsPair::share_key`]). Called before
    /// [`LiveSets::open`].
    pub fn share_keys(&self, share: fn(&mut TlsPair) -> bool) {
        let _ = self.share_key.set(share);
    }

    /// Says whether other servers use the store, by the configuration. Called before [`LiveSets::open`].
    pub fn expect_others(&self, expected: bool) {
        let _ = self.expects_others.set(expected);
    }

    /// Reads the sets of the store, for this process and those that are forked from it. `counters` are in memory that all
    /// processes of the server share, [`LiveSets::COUNTERS`] of them, zeros when they are made and never reset; without them
    /// only this process learns what it publishes. Called once, before the first fork.
    pub fn open(&self, counters: Option<&'static [AtomicU32]>) {
        if let Some(counters) = counters {
            // The first stay: others may have been forked with them.
            let _ = self.counters.set(counters);
            self.begin_watch();
        }
        self.seen.store(self.count(0), Ordering::Relaxed);
        let _ = self.opened.set(self.clock.now());
        let listed = self.documents.store().list(Group::Live).map(|items| items.into_iter().collect::<HashSet<_>>());
        let listed =
            listed.inspect_err(|err| report!(MD0035, err.status(); "what is live has to be looked for: {err}"));
        let may_be_stored = |name: &str| listed.as_ref().map_or(true, |items| items.contains(name));
        for slot in self.slots.iter().flatten() {
            let mut known = lock(&slot.known);
            if may_be_stored(slot.md.name.as_str()) {
                self.read(slot, &mut known, Reading::Start);
            } else {
                slot.seen.store(self.count(slot.counter), Ordering::Relaxed);
            }
        }
    }

    /// Whether sets go live for no domain at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }

    /// Whether sets of the domain at this position go live.
    #[must_use]
    pub fn goes_live(&self, position: usize) -> bool {
        self.slot(position).is_some()
    }

    /// Returns the set for the domain at this position; `None` for what the start has set up. For handshakes: reads a file only
    /// if there is a new one, and then in one thread.
    #[must_use]
    pub fn current(&self, position: usize) -> Option<Arc<TlsSet>> {
        let slot = self.slot(position)?;
        if self.is_stale(slot) {
            // While another thread reads, there is what was there before, unless that is nothing that clients trust.
            let known = if slot.has_nothing() { Some(lock(&slot.known)) } else { slot.known.try_lock().ok() };
            if let Some(mut known) = known.filter(|_| self.is_stale(slot)) {
                self.read(slot, &mut known, Reading::Change);
            }
        }
        slot.served()
    }

    /// Reads what others have written, for all domains, and once more what could not be read. Returns for how many there was
    /// something new.
    pub fn refresh(&self) -> usize {
        self.refresh_some(usize::MAX)
    }

    /// Reads what others have written, for so many domains at most; the next call goes on.
    pub fn refresh_some(&self, most: usize) -> usize {
        let all = self.count(0);
        let failed = self.failed.swap(false, Ordering::Relaxed);
        if all == self.seen.load(Ordering::Relaxed) && !failed {
            return 0;
        }
        let is_stale = |slot: &&Arc<LiveSlot>| self.is_stale(slot) || slot.failed.load(Ordering::Relaxed);
        let mut stale = self.slots.iter().flatten().filter(is_stale);
        let read = |slot: &&Arc<LiveSlot>| self.read(slot, &mut lock(&slot.known), Reading::Change);
        let read = stale.by_ref().take(most).filter(read).count();
        if stale.next().is_none() {
            self.seen.store(all, Ordering::Relaxed);
        } else {
            self.failed.fetch_or(failed, Ordering::Relaxed);
        }
        read
    }

    /// Tells all processes that there is another set for the domain at this position. The file is there.
    pub fn announce(&self, position: usize) {
        let (Some(slot), Some(counters)) = (self.slot(position), self.counters.get()) else { return };
        for counter in [slot.counter, 0] {
            counters[counter].fetch_add(1, Ordering::Release);
        }
    }

    /// Takes the set that is in the store, if it is another one and can be used. Returns whether it did. What cannot be read or
    /// used may be half written, or there were too many files: the next [`LiveSets::refresh`] looks again.
    fn read(&self, slot: &LiveSlot, known: &mut Option<[u8; 32]>, reading: Reading) -> bool {
        // Before the file is read: who writes meanwhile counts after that, and it is read again.
        let count = self.count(slot.counter);
        slot.written.store(self.written(slot), Ordering::Relaxed);
        let new = match self.documents.store().load(Group::Live, slot.md.name.as_str(), &Aspect::LiveJson) {
            Ok(Some(text)) => self.decode(slot, &text, known, reading),
            // Removed by a start that has the same in domains/: what is held stays as good.
            Ok(None) => Ok(None),
            Err(err) => Err(port_error(err)),
        };
        let is_told = slot.failed.swap(new.is_err(), Ordering::Relaxed) && !self.is_stale(slot);
        self.failed.fetch_or(new.is_err(), Ordering::Relaxed);
        let is_new = matches!(new, Ok(Some(_)));
        match new {
            Ok(Some(mut new)) => {
                new.since = self.documents.store().modified(Group::Live, slot.md.name.as_str(), &Aspect::LiveJson);
                let serials: Vec<String> = new.pairs.iter().map(|(_, pair)| pair.summary().serial_hex()).collect();
                slot.serve(new);
                note!(Debug, "{}: this process serves what went live, serials {}", slot.md.name, serials.join(" "));
            }
            Ok(None) => {}
            Err(_) if is_told => {}
            Err(err) => report!(
                MD0035, err.status;
                "{}: the set in live/ cannot be served, the one before stays and it is looked at again: {err}",
                slot.md.name
            ),
        }
        slot.seen.store(count, Ordering::Release);
        is_new
    }

    /// Decodes the text of a set; `None` if there is nothing new in it.
    fn decode(
        &self,
        slot: &LiveSlot,
        text: &[u8],
        known: &mut Option<[u8; 32]>,
        reading: Reading,
    ) -> Result<Option<TlsSet>, PortError> {
        let failed = |text: String| PortError { status: Status::INVALID, text };
        let digest = sha256(text).map_err(|err| failed(err.to_string()))?;
        if *known == Some(digest) {
            return Ok(None);
        }
        let secret = self.documents.store().secret();
        let now = self.clock.now();
        let pair_set = match reading {
            Reading::Start => {
                PairSet::kept(text, secret, &slot.md).map(|found| found.filter(|own| slot.lets_in(own, now)))
            }
            Reading::Change => PairSet::from_json(text, secret, &slot.md, now).map(Some),
        };
        let pair_set = pair_set.map_err(|err| failed(err.to_string()))?;
        let Some(pair_set) = pair_set else {
            *known = Some(digest);
            return Ok(None);
        };
        let mut served = TlsSet::new(&pair_set, &slot.md).map_err(|err| failed(err.to_string()))?;
        if let Some(share) = self.share_key.get() {
            let mut pairs = served.pairs.iter_mut();
            pairs.try_for_each(|(_, pair)| pair.share_key(*share)).map_err(|err| failed(err.to_string()))?;
        }
        if let Some(stapling) = self.stapling.get() {
            stapling.adopt(&slot.md, pair_set.pairs.iter().map(|pair| &pair.chain), served.is_whole);
        }
        *known = Some(digest);
        Ok(Some(served))
    }

    fn is_stale(&self, slot: &LiveSlot) -> bool {
        self.count(slot.counter) != slot.seen.load(Ordering::Relaxed)
    }

    fn slot(&self, position: usize) -> Option<&LiveSlot> {
        self.slots.get(position)?.as_deref()
    }

    fn count(&self, counter: usize) -> u32 {
        let counters = self.counters.get().copied().unwrap_or_default();
        counters.get(counter).map_or(0, |counter| counter.load(Ordering::Acquire))
    }
}

impl LiveSlot {
    /// Makes the slot of a domain, with what the start has set up for it; `None` where sets do not go live.
    #[must_use]
    pub fn new(md: &Arc<ManagedDomain>, started: &CertificateSet) -> Option<Arc<Self>> {
        md.goes_live().then(|| {
            Arc::new(Self {
                md: Arc::clone(md),
                counter: counter_of(md.name.as_str()),
                served: RwLock::new(None),
                seen: AtomicU32::new(0),
                failed: AtomicBool::new(false),
                known: Mutex::new(None),
                started: started.common_validity(),
                written: foreign::Written::default(),
                copied: Mutex::default(),
            })
        })
    }

    /// Returns the set that this process serves.
    #[must_use]
    pub fn served(&self) -> Option<Arc<TlsSet>> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the start has found no certificates, and none went live since.
    fn has_nothing(&self) -> bool {
        self.started.is_none() && self.served().is_none()
    }

    /// Whether a certificate for this type of key went live.
    fn serves(&self, spec: &KeySpec) -> bool {
        self.served().is_some_and(|served| served.pair(spec).is_some())
    }

    /// SHA-256 of the certificate that the server has used for a key type since its start, the one at that position, if nothing
    /// went live for it since and it does not have to be replaced.
    fn good_since_start(&self, started: &CertificateSet, position: usize, spec: &KeySpec) -> Option<String> {
        let own = started.certificates.get(position)?.as_ref()?;
        // A pair that went live since is newer, wherever it is now.
        (started.is_good(position) && !self.serves(spec)).then(|| own.sha256_fingerprint())
    }

    fn serve(&self, new: TlsSet) {
        let mut served = self.served.write().unwrap_or_else(PoisonError::into_inner);
        let former = served.replace(Arc::new(new));
        drop(served);
        // Wiping takes its time, for which no handshake waits.
        drop(former);
    }

    /// Whether a set that was live before the start, which could not move it to `domains/`, is better than what is there.
    fn lets_in(&self, pair_set: &PairSet, now: Timestamp) -> bool {
        let rank = |validity: Validity| choice::rank(validity, now);
        pair_set.validity().map(rank) >= self.started.map(rank)
    }
}

/// The counter of a domain: the same in every process, generation and release. The first is that of all.
fn counter_of(name: &str) -> usize {
    let [a, b, ..] = sha256(name.as_bytes()).unwrap_or_default();
    1 + usize::from(u16::from_be_bytes([a, b])) % DOMAINS
}

impl fmt::Debug for LiveSets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveSets of {} domains", self.slots.iter().flatten().count())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
