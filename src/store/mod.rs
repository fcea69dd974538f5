//! The store: bytes by group, item and aspect. It knows names, modes and owners, but not what the bytes mean.
#![forbid(unsafe_code)]

mod access;
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
mod removal;
mod secret;
#[cfg(test)]
mod suite;
mod watch;

pub use access::{giving_to_root, of_others};
pub use claim::WorkClaim;
pub use error::StoreError;
pub use file_store::FileStore;
pub use foreign::read_foreign;
pub use memory::MemoryStore;
pub use paths::{Aspect, Group};
pub use reachability::{Reachability, ServerFacts, ServerWide};
pub use secret::{FILE as STORE_FILE, MODE as STORE_MODE, Secret};
pub use watch::{News, Watch};

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::Timestamp;

/// The pause between tries of [`Store::claim_within`].
const CLAIM_POLL: Duration = Duration::from_millis(10);

/// A store for the files of accounts and domains.
///
/// Several processes may use one store at a time. Every call stands for itself and, unless said otherwise, blocks until the data is on
/// disk. Items
/// come into being with their first file. A name that could lead out of the store is [`StoreError::Name`] in every call;
/// otherwise a call fails only if the medium does.
pub trait Store: Send + Sync {
    /// Returns the content of a file; `None` if it is absent.
    ///
    /// # Errors
    /// If the file exists but cannot be read.
    fn load(&self, group: Group, item: &str, aspect: &Aspect) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns the content of a file as [`Store::load`] does, and whether it is from somebody whom the server trusts: root, or who
    /// opened the store, owns it, and it has no other name. The server's user can give names in the store to files of others.
    ///
    /// # Errors
    /// As [`Store::load`].
    fn load_with_owner(
        &self,
        group: Group,
        item: &str,
        aspect: &Aspect,
    ) -> Result<Option<(Vec<u8>, bool)>, StoreError> {
        Ok(self.load(group, item, aspect)?.map(|content| (content, true)))
    }

    /// Writes or replaces a file. Readers see the old content or the new, also after a crash.
    ///
    /// # Errors
    /// If it cannot be written; the old content is still there.
    fn save(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<(), StoreError>;

    /// Saves one file in each of many items, as [`Store::save`] but faster than one by one. The answers are in the order of
    /// the files.
    fn save_each(&self, group: Group, aspect: &Aspect, files: &[(&str, Vec<u8>)]) -> Vec<Result<(), StoreError>> {
        files.iter().map(|(item, data)| self.save(group, item, aspect, data)).collect()
    }

    /// Saves a file as [`Store::save`] does, but a power failure may bring the old content back. The next [`Store::save`] in the same
    /// item makes both files last, so that the disk is waited for once less.
    ///
    /// # Errors
    /// As [`Store::save`].
    fn save_unsettled(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<(), StoreError> {
        self.save(group, item, aspect, data)
    }

    /// Saves a file that can be made again, as [`Store::save`] but without waiting for the disk: a power failure may damage it.
    ///
    /// # Errors
    /// As [`Store::save`].
    fn save_lazily(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<(), StoreError> {
        self.save(group, item, aspect, data)
    }

    /// Writes a file that is absent; `false` if it exists. Of several writers one succeeds.
    ///
    /// # Errors
    /// As [`Store::save`].
    fn create(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<bool, StoreError>;

    /// Creates a file that can be made again, as [`Store::create`] but without waiting for the disk.
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

    /// Removes a file whose return would do no harm, as [`Store::remove`] but without waiting for the disk.
    ///
    /// # Errors
    /// As [`Store::remove`].
    fn remove_lazily(&self, group: Group, item: &str, aspect: &Aspect) -> Result<(), StoreError> {
        self.remove(group, item, aspect)
    }

    /// Removes an item with all its files; an absent one is fine. A claim on it stays.
    ///
    /// # Errors
    /// If a part cannot be removed; other parts may be gone. If it has more directories or entries than the store ever makes, the
    /// next call goes on.
    fn purge(&self, group: Group, item: &str) -> Result<(), StoreError>;

    /// Removes an item whose return would do no harm, as [`Store::purge`] but without waiting for the disk.
    ///
    /// # Errors
    /// As [`Store::purge`].
    fn purge_lazily(&self, group: Group, item: &str) -> Result<(), StoreError> {
        self.purge(group, item)
    }

    /// Removes all files of an item but keeps the item; an absent one is fine.
    ///
    /// # Errors
    /// As [`Store::purge`].
    fn clear(&self, group: Group, item: &str) -> Result<(), StoreError>;

    /// Returns the items of a group, sorted. Other entries (plain files, hidden files) are left out.
    ///
    /// # Errors
    /// If the group exists but cannot be read.
    fn list(&self, group: Group) -> Result<Vec<String>, StoreError>;

    /// Returns all responses in [`Group::Ocsp`]: item, fingerprint of the certificate, and when it was written.
    ///
    /// # Errors
    /// As [`Store::list`].
    fn ocsp_responses(&self) -> Result<Vec<(String, [u8; 20], Timestamp)>, StoreError>;

    /// Whether a file exists.
    fn exists(&self, group: Group, item: &str, aspect: &Aspect) -> bool;

    /// Returns when a file was written; `None` if it is absent.
    fn modified(&self, group: Group, item: &str, aspect: &Aspect) -> Option<Timestamp>;

    /// Returns when a file was written that other machines may write, as [`Store::modified`] but not from the cache of a
    /// network
    /// file system.
    fn written(&self, group: Group, item: &str, aspect: &Aspect) -> Option<Timestamp> {
        self.modified(group, item, aspect)
    }

    /// Begins to watch a group, in which no item is watched yet. `None` where not every change would be told: on network file
    /// systems, and where the system has no watches left.
    fn watch(&self, _group: Group) -> Option<Arc<dyn Watch>> {
        None
    }

    /// Returns the mark that [`Store::bump_generation`] changes; `None` if it never did.
    ///
    /// # Errors
    /// If it cannot be read.
    fn generation(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Changes the mark, so that all who use the store, on this machine and on others, learn that a set in [`Group::Live`] was
    /// written. Returns the new mark.
    ///
    /// # Errors
    /// If it cannot be written.
    fn bump_generation(&self) -> Result<Vec<u8>, StoreError>;

    /// Moves an item with all its files. Nothing is overwritten.
    ///
    /// # Errors
    /// If it is absent, or the target has files.
    fn rename(&self, from: (Group, &str), to: (Group, &str)) -> Result<(), StoreError>;

    /// Makes the item of [`Group::Tmp`] the one of [`Group::Domains`]. A former one goes to [`Group::Archive`] with the first
    /// free
    /// number from 1 to 999 as suffix, of which the newest 50 of each domain are kept.
    ///
    /// An interrupted call may have archived the former set but not put the new one in its place; the next start brings the
    /// former
    /// one back. The sources of the new one must be kept until this returns.
    ///
    /// # Errors
    /// If there is nothing in tmp, no free number, or the medium fails; the former item is in its place then.
    fn replace(&self, item: &str) -> Result<(), StoreError>;

    /// Claims the item of [`Group::Staging`], which may be absent, against all other claims, of this process and of others;
    /// `None`
    /// if it is claimed already. Does not wait. An item that is empty in the end is removed. Accounts are claimed by their
    /// ids: no
    /// domain has capital letters.
    ///
    /// # Errors
    /// If the claim cannot be asked for.
    fn claim(&self, item: &str) -> Result<Option<WorkClaim>, StoreError>;

    /// Claims an item as [`Store::claim`], but waits up to `patience` for its holder; `None` if that was not enough.
    ///
    /// # Errors
    /// As [`Store::claim`].
    fn claim_within(&self, item: &str, patience: Duration) -> Result<Option<WorkClaim>, StoreError> {
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

    /// Locks the whole store against other processes that ask for this lock; `None` if one of them holds it for longer than
    /// `patience`. A store that no other process can see needs no lock.
    ///
    /// # Errors
    /// If the lock cannot be asked for.
    fn lock_within(&self, patience: Duration) -> Result<Option<WorkClaim>, StoreError> {
        let _ = patience;
        Ok(Some(WorkClaim::new(())))
    }

    /// Excludes others who move certificates to their places, or who read them at a start; `None` if one of them goes on for
    /// longer
    /// than `patience`. Unlike [`Store::lock_within`], it is not known to the C module, and always taken.
    ///
    /// # Errors
    /// As [`Store::lock_within`].
    fn change_within(&self, patience: Duration) -> Result<Option<WorkClaim>, StoreError> {
        let _ = patience;
        Ok(Some(WorkClaim::new(())))
    }

    /// Returns the pass phrase of keys that are stored encrypted.
    fn secret(&self) -> &Secret;
}
