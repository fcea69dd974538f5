//! Sets that are served without a start (`MDActivation live`): each process keeps them in memory, and a counter of each domain
//! in memory that all processes share tells that there is another one in the store.
//!
//! Whoever has a new set writes it, in one file, and then counts. A handshake looks at one counter; only when that has moved
//! the first to come reads the file, while others go on with what they have. Counters never go back and have the same place in
//! every generation of the server, so that children learn which still have connections of an earlier one.

mod bundle;
mod publish;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use super::Stapling;
use super::vault::Vault;
use crate::clock::Clock;
use crate::crypto::sha256;
use crate::log::{note, report};
use crate::model::{ActivationMode, ManagedDomain};
use crate::store::{Aspect, Group};

pub use bundle::{Bundle, BundleError, Pair, Served};
pub use publish::Published;

/// How many counters there are for domains. Two domains may have the same one, and then look once more than they need to.
const DOMAINS: usize = 1 << 14;

/// What has a set for a domain of the registry.
pub struct Bundles {
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    /// One entry for each domain, `None` where sets do not go live.
    slots: Vec<Option<Arc<Slot>>>,
    /// Who staples what is served.
    stapling: Option<Arc<Stapling>>,
    counters: OnceLock<&'static [AtomicU32]>,
    /// The counter of all when this process last looked at all.
    seen: AtomicU32,
}

/// The set of one domain.
#[derive(Debug)]
pub struct Slot {
    md: Arc<ManagedDomain>,
    counter: usize,
    served: RwLock<Option<Arc<Served>>>,
    /// The counter before the file was last read.
    seen: AtomicU32,
    /// Had by who reads the file: the digest of what it held the last time.
    known: Mutex<Option<[u8; 32]>>,
}

impl Bundles {
    /// How many counters [`Bundles::open`] takes: one for all domains, and those of single ones.
    pub const COUNTERS: usize = DOMAINS + 1;

    /// For these domains, in the order of the registry. Knows of no set until [`Bundles::open`].
    #[must_use]
    pub fn new(vault: Arc<Vault>, clock: Arc<dyn Clock>, slots: Vec<Option<Arc<Slot>>>) -> Self {
        Self { vault, clock, slots, stapling: None, counters: OnceLock::new(), seen: AtomicU32::new(0) }
    }

    /// Has certificates stapled from when they are served.
    #[must_use]
    pub fn stapled_by(self, stapling: &Arc<Stapling>) -> Self {
        Self { stapling: Some(Arc::clone(stapling)), ..self }
    }

    /// Reads the sets of the store, for this process and those that are forked from it. `counters` are in memory that all
    /// processes of the server share, [`Bundles::COUNTERS`] of them, zeros when they are made and never reset; without them
    /// only this process learns what it publishes. Called once, before the first fork.
    pub fn open(&self, counters: Option<&'static [AtomicU32]>) {
        if let Some(counters) = counters {
            // The first stay: others may have been forked with them.
            let _ = self.counters.set(counters);
        }
        self.seen.store(self.count(0), Ordering::Relaxed);
        let stored: HashSet<String> = match self.vault.store().list(Group::Live) {
            Ok(items) => items.into_iter().collect(),
            Err(err) => return note!(Error, err.status(); "what was live is not served: {err}"),
        };
        for slot in self.slots.iter().flatten() {
            let mut known = lock(&slot.known);
            if stored.contains(slot.md.name.as_str()) {
                self.read(slot, &mut known);
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
    pub fn is_live(&self, position: usize) -> bool {
        self.slot(position).is_some()
    }

    /// What is served for the domain at this position; `None` for what the start has set up. For handshakes: reads a file only
    /// if there is a new one, and then in one thread.
    #[must_use]
    pub fn current(&self, position: usize) -> Option<Arc<Served>> {
        let slot = self.slot(position)?;
        if self.is_stale(slot) {
            if let Ok(mut known) = slot.known.try_lock() {
                self.read(slot, &mut known);
            }
        }
        slot.served()
    }

    /// Reads what others have written, for all domains. Returns for how many there was something new.
    pub fn refresh(&self) -> usize {
        let all = self.count(0);
        if all == self.seen.load(Ordering::Relaxed) {
            return 0;
        }
        let stale = self.slots.iter().flatten().filter(|slot| self.is_stale(slot));
        let read = stale.filter(|slot| self.read(slot, &mut lock(&slot.known))).count();
        self.seen.store(all, Ordering::Relaxed);
        read
    }

    /// Tells all processes that there is another set for the domain at this position. The file is there.
    pub fn announce(&self, position: usize) {
        let (Some(slot), Some(counters)) = (self.slot(position), self.counters.get()) else { return };
        for counter in [slot.counter, 0] {
            counters[counter].fetch_add(1, Ordering::Release);
        }
    }

    /// Takes the set that is in the store, if it is another one and can be used. Returns whether it did.
    fn read(&self, slot: &Slot, known: &mut Option<[u8; 32]>) -> bool {
        // Before the file is read: who writes meanwhile counts after that, and it is read again.
        let count = self.count(slot.counter);
        let name = slot.md.name.as_str();
        let new = match self.vault.store().load(Group::Live, name, &Aspect::LiveJson) {
            Ok(Some(text)) => self.decode(slot, &text, known),
            // Removed by a start that has the same in domains/: what is held stays as good.
            Ok(None) => None,
            Err(err) => {
                report!(MD0035, err.status(); "{name}: what is new is not served: {err}");
                None
            }
        };
        let is_new = new.is_some();
        if let Some(new) = new {
            let serials: Vec<String> = new.pairs.iter().map(|(_, pair)| pair.summary().serial_hex()).collect();
            let mut served = slot.served.write().unwrap_or_else(PoisonError::into_inner);
            let former = served.replace(Arc::new(new));
            drop(served);
            // Wiping takes its time, for which no handshake waits.
            drop(former);
            note!(Debug, "{name}: this process serves what went live, serials {}", serials.join(" "));
        }
        slot.seen.store(count, Ordering::Release);
        is_new
    }

    /// What the text stands for; `None` if it was read before, or cannot be served.
    fn decode(&self, slot: &Slot, text: &[u8], known: &mut Option<[u8; 32]>) -> Option<Served> {
        let digest = sha256(text).ok()?;
        if known.replace(digest) == Some(digest) {
            return None;
        }
        let secret = self.vault.store().secret();
        let bundle = Bundle::from_json(text, secret, &slot.md, self.clock.now()).map_err(|err| err.to_string());
        let served = bundle.and_then(|bundle| {
            let served = Served::new(&bundle, &slot.md).map_err(|err| err.to_string())?;
            if let Some(stapling) = &self.stapling {
                stapling.adopt(&slot.md, bundle.pairs.iter().map(|pair| &pair.chain), served.is_whole);
            }
            Ok(served)
        });
        served
            .inspect_err(|reason| {
                report!(MD0035, "{}: the set in live/ cannot be served, the one before stays: {reason}", slot.md.name);
            })
            .ok()
    }

    fn is_stale(&self, slot: &Slot) -> bool {
        self.count(slot.counter) != slot.seen.load(Ordering::Relaxed)
    }

    fn slot(&self, position: usize) -> Option<&Slot> {
        self.slots.get(position)?.as_deref()
    }

    fn count(&self, counter: usize) -> u32 {
        let counters = self.counters.get().copied().unwrap_or_default();
        counters.get(counter).map_or(0, |counter| counter.load(Ordering::Acquire))
    }
}

impl Slot {
    /// For a domain; `None` where sets do not go live.
    #[must_use]
    pub fn new(md: &Arc<ManagedDomain>) -> Option<Arc<Self>> {
        goes_live(md).then(|| {
            Arc::new(Self {
                md: Arc::clone(md),
                counter: counter_of(md.name.as_str()),
                served: RwLock::new(None),
                seen: AtomicU32::new(0),
                known: Mutex::new(None),
            })
        })
    }

    /// What this process serves, as far as it knows.
    #[must_use]
    pub fn served(&self) -> Option<Arc<Served>> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether sets of the domain go live. Files of the administrator are left to him.
pub(super) fn goes_live(md: &ManagedDomain) -> bool {
    md.activation == ActivationMode::Live && !md.is_static()
}

/// The counter of a domain: the same in every process, generation and release. The first is that of all.
fn counter_of(name: &str) -> usize {
    let [a, b, ..] = sha256(name.as_bytes()).unwrap_or_default();
    1 + usize::from(u16::from_be_bytes([a, b])) % DOMAINS
}

impl fmt::Debug for Bundles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundles of {} domains", self.slots.iter().flatten().count())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
