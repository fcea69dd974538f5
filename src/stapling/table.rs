//! The table of stapled certificates: those of the start, and those that have gone live in place of some of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Sha1, StapledCertificate};
use crate::crypto::Summary;

/// Entries by numbers that are never used again.
#[derive(Default)]
pub(super) struct Table {
    entries: BTreeMap<usize, Arc<StapledCertificate>>,
    by_owner: HashMap<String, Vec<usize>>,
    /// Entries that handshakes may ask for: all of `entries`, and those that were replaced last.
    by_sha1: HashMap<Sha1, Arc<StapledCertificate>>,
    /// Certificates of each owner that were replaced last, for handshakes that began with them. Dropped at the next change.
    former: HashMap<String, Vec<Sha1>>,
    next: usize,
    /// Number of changes since the start.
    changes: usize,
}

impl Table {
    /// Makes the table of a start's certificates.
    pub fn new(entries: Vec<StapledCertificate>) -> Self {
        let mut table = Self::default();
        entries.into_iter().for_each(|entry| table.add(entry));
        table
    }

    fn add(&mut self, entry: StapledCertificate) {
        let index = self.next;
        self.next += 1;
        let entry = Arc::new(StapledCertificate { index, ..entry });
        self.by_owner.entry(entry.owner().to_owned()).or_default().push(index);
        self.by_sha1.insert(entry.sha1, Arc::clone(&entry));
        self.entries.insert(index, entry);
    }

    /// Returns the number of certificates.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the number of changes to the table since the start.
    pub fn changes(&self) -> usize {
        self.changes
    }

    pub fn by_sha1(&self, sha1: &Sha1) -> Option<&Arc<StapledCertificate>> {
        self.by_sha1.get(sha1)
    }

    pub fn get(&self, index: usize) -> Option<&Arc<StapledCertificate>> {
        self.entries.get(&index)
    }

    /// Returns all entries, without those that were replaced.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StapledCertificate>> {
        self.entries.values()
    }

    /// Returns the numbers of an owner's certificates.
    pub fn of(&self, owner: &str) -> &[usize] {
        self.by_owner.get(owner).map_or(&[], Vec::as_slice)
    }

    /// Returns the entry of an owner's certificate.
    pub fn find(&self, owner: &str, certificate: &Summary) -> Option<&Arc<StapledCertificate>> {
        let sha256 = certificate.sha256_fingerprint();
        self.of(owner).iter().filter_map(|index| self.get(*index)).find(|entry| entry.sha256 == sha256)
    }

    /// Notes that an owner serves the certificates `served` from now on, of which those in `new` are not in the table yet. They
    /// replace those that went live before, and if the owner serves no others (`is_whole`), also its managed ones of the start.
    pub fn serve(&mut self, owner: &str, served: &[Sha1], is_whole: bool, new: Vec<StapledCertificate>) {
        let is_replaced = |entry: &&Arc<StapledCertificate>| {
            let may_go = entry.went_live || entry.is_managed && is_whole;
            may_go && !served.contains(&entry.sha1)
        };
        let members = self.of(owner).iter().filter_map(|index| self.get(*index));
        let replaced: Vec<_> = members.filter(is_replaced).map(|entry| (entry.index, entry.sha1)).collect();
        if replaced.is_empty() && new.is_empty() {
            return;
        }
        self.changes += 1;
        for sha1 in self.former.remove(owner).unwrap_or_default() {
            self.by_sha1.remove(&sha1);
        }
        for (index, _) in &replaced {
            self.entries.remove(index);
        }
        if let Some(members) = self.by_owner.get_mut(owner) {
            members.retain(|index| self.entries.contains_key(index));
        }
        if !replaced.is_empty() {
            self.former.insert(owner.to_owned(), replaced.into_iter().map(|(_, sha1)| sha1).collect());
        }
        new.into_iter().for_each(|entry| self.add(entry));
    }
}
