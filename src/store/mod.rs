//! The store: bytes by group, item and aspect. It knows names, modes and owners, but not what the bytes mean.
#![forbid(unsafe_code)]

mod archive;
mod claim;
mod dir;
mod error;
mod file_store;

mod foreign;
mod generation;
mod lock;
mod memory;
mod migration;
mod paths;
mod reachability;
mod secret;
#[cfg(test)]
mod suite;

pub use claim::Claim;
pub use error::StoreError;
pub use file_store::FileStore;
pub use foreign::read_foreign;
pub use memory::MemoryStore;
pub use paths::{Aspect, Group};
pub use reachability::Reachability;
pub use secret::Secret;

use std::time::{Duration, Instant};

use crate::model::Timestamp;

/// How often [`Store::claim_within`] asks.
const CLAIM_POLL: Duration = Duration::from_millis(10);

/// Keeps the files of accounts and domains.
///
/// Several processes may use one store at a time. Every call stands for itself and blocks until the disk has it. Items
/// come into being with their first file. A name that could lead out of the store is [`StoreError::Name`] in every
/// call, the others fail only where the medium fails.
pub trait Store: Send + Sync {
    /// The content of a file, `None` if it is absent.
    ///
    /// # Errors
    /// If the file is there but cannot be read.
    fn load(&self, group: Group, item: &str, aspect: &Aspect) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes or replaces a file. Readers see the old content or the new, also after a crash.
    ///
    /// # Errors
    /// If it cannot be written; the old content is still there.
    fn save(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<(), StoreError>;

    /// As [`Store::save`] for one file in each of many items, faster than one by one. The answers are in the order of
    /// the files.
    fn save_each(&self, group: Group, aspect: &Aspect, files: &[(&str, Vec<u8>)]) -> Vec<Result<(), StoreError>> {
        files.iter().map(|(item, data)| self.save(group, item, aspect, data)).collect()
    }

    /// As [`Store::save`] for what can be made again: does not wait for the disk, so that after a power failure the file
    /// may be damaged.
    ///
    /// # Errors
    /// As [`Store::save`].
    fn save_lazily(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<(), StoreError> {
        self.save(group, item, aspect, data)
    }

    /// Writes a file that is absent; `false` if it is there already. Of several writers one succeeds.
    ///
    /// # Errors
    /// As [`Store::save`].
    fn create(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<bool, StoreError>;

    /// As [`Store::create`] for what can be made again, as with [`Store::save_lazily`].
    ///
    /// # Errors
    /// As [`Store::save`].
    fn create_lazily(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<bool, StoreError> {
        self.create(group, item, aspect, data)
    }

    /// Removes a file; an absent one is fine.
    ///
    /// # Errors
    /// If it cannot be removed.
    fn remove(&self, group: Group, item: &str, aspect: &Aspect) -> Result<(), StoreError>;

    /// Removes an item with all that is in it; an absent one is fine. A claim on it goes on.
    ///
    /// # Errors
    /// If something of it cannot be removed; part of it may be gone.
    fn purge(&self, group: Group, item: &str) -> Result<(), StoreError>;

    /// Removes all files of an item but keeps the item; an absent one is fine.
    ///
    /// # Errors
    /// As [`Store::purge`].
    fn clear(&self, group: Group, item: &str) -> Result<(), StoreError>;

    /// The items of a group, sorted. What the store would not have made (plain files, hidden files) is left out.
    ///
    /// # Errors
    /// If the group is there but cannot be read.
    fn list(&self, group: Group) -> Result<Vec<String>, StoreError>;

    /// All responses in [`Group::Ocsp`]: item, fingerprint of the certificate, and when it was written.
    ///
    /// # Errors
    /// As [`Store::list`].
    fn ocsp_responses(&self) -> Result<Vec<(String, [u8; 20], Timestamp)>, StoreError>;

    /// Whether a file is there.
    fn exists(&self, group: Group, item: &str, aspect: &Aspect) -> bool;

    /// When a file was written; `None` if it is absent.
    fn modified(&self, group: Group, item: &str, aspect: &Aspect) -> Option<Timestamp>;

    /// As [`Store::modified`] for files that others may have written on another machine: it is asked for anew where a
    /// network file system would answer from memory.
    fn written(&self, group: Group, item: &str, aspect: &Aspect) -> Option<Timestamp> {
        self.modified(group, item, aspect)
    }

    /// A mark that [`Store::bump_generation`] has changed since if it is another one than before; `None` if it never did.
    ///
    /// # Errors
    /// If it cannot be read.
    fn generation(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Tells all who use the store, on this machine and on others, that a set in [`Group::Live`] was written. Returns the
    /// mark from now on.
    ///
    /// # Errors
    /// If it cannot be written.
    fn bump_generation(&self) -> Result<Vec<u8>, StoreError>;

    /// Moves an item with all that is in it. Nothing is overwritten.
    ///
    /// # Errors
    /// If it is absent, or the target has files.
    fn rename(&self, from: (Group, &str), to: (Group, &str)) -> Result<(), StoreError>;

    /// Makes the item of [`Group::Tmp`] that of [`Group::Domains`]. A former one goes to [`Group::Archive`] with the
    /// first free number from 1 to 999 as suffix, of which the newest 50 of each domain are kept.
    ///
    /// Stopped half-way, it may have archived the former set but not put the new one in its place; the next start
    /// brings the former one back. What the new one was made from has to be kept until this returns.
    ///
    /// # Errors
    /// If there is nothing in tmp, no free number, or the medium fails; the former item is in its place then.
    fn replace(&self, item: &str) -> Result<(), StoreError>;

    /// Claims the item of [`Group::Staging`], which may be absent, against everybody else who asks, in this process and in
    /// others; `None` if somebody has it. Does not wait. An item that is empty in the end is removed. Accounts are claimed
    /// by their ids: no domain has capital letters.
    ///
    /// # Errors
    /// If the claim cannot be asked for.
    fn claim(&self, item: &str) -> Result<Option<Claim>, StoreError>;

    /// As [`Store::claim`], but waits up to `patience` for whoever has it; `None` if that was not enough.
    ///
    /// # Errors
    /// As [`Store::claim`].
    fn claim_within(&self, item: &str, patience: Duration) -> Result<Option<Claim>, StoreError> {
        let asked = Instant::now();
        loop {
            let claim = self.claim(item)?;
            let left = patience.saturating_sub(asked.elapsed());
            if claim.is_some() || left.is_zero() {
                return Ok(claim);
            }
            std::thread::sleep(left.min(CLAIM_POLL));
        }
    }

    /// Locks the whole store against other processes that ask; `None` if one of them has it for longer than `patience`.
    /// Only those who agree to ask are kept off. A store that no other process can see needs no lock.
    ///
    /// # Errors
    /// If the lock cannot be asked for.
    fn lock_within(&self, patience: Duration) -> Result<Option<Claim>, StoreError> {
        let _ = patience;
        Ok(Some(Claim::new(())))
    }

    /// Excludes others who move certificates to their places, or who look for them at a start; `None` if one of them goes on
    /// for longer than `patience`. Unlike [`Store::lock_within`] it is not known to the C module, and taken in any case.
    ///
    /// # Errors
    /// As [`Store::lock_within`].
    fn change_within(&self, patience: Duration) -> Result<Option<Claim>, StoreError> {
        let _ = patience;
        Ok(Some(Claim::new(())))
    }

    /// The pass phrase of keys that are stored encrypted.
    fn secret(&self) -> &Secret;
}
