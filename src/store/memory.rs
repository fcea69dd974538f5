//! A store in memory, for tests of what works on a store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::paths::{Paths, checked, checked_file};
use super::{Aspect, Group, Secret, Store, StoreError, WorkClaim, archive};
use crate::model::Timestamp;

/// A store that keeps everything until it is dropped, and never fails.
pub struct MemoryStore {
    content: Arc<Mutex<Content>>,
    secret: Secret,
}

#[derive(Default)]
struct Content {
    items: BTreeMap<(Group, String), Item>,
    claimed: BTreeSet<String>,
    archived: u64,
    /// Number of sets that went live.
    generation: u64,
}

#[derive(Default)]
struct Item {
    files: BTreeMap<String, (Vec<u8>, Timestamp)>,
    /// Number of archived sets.
    archived: u64,
}

struct Held {
    content: Arc<Mutex<Content>>,
    item: String,
}

impl MemoryStore {
    /// Makes an empty store with a secret of its own.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "getrandom does not fail once the system is up")]
    pub fn new() -> Self {
        let secret = Secret::generate().expect("Linux has random bytes");
        Self { content: Arc::default(), secret }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        lock(&self.content)
    }

    fn file<T>(
        &self,
        group: Group,
        item: &str,
        aspect: &Aspect,
        view: impl Fn(&(Vec<u8>, Timestamp)) -> T,
    ) -> Option<T> {
        let key = (group, item.to_owned());
        self.content().items.get(&key)?.files.get(&aspect.file_name()).map(view)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Content {
    fn rename(&mut self, from: (Group, &str), to: (Group, &str)) -> Result<(), StoreError> {
        let source = (from.0, checked(from.1)?.to_owned());
        let target = (to.0, checked(to.1)?.to_owned());
        let errno = match (self.items.contains_key(&source), self.items.get(&target)) {
            (false, _) => Errno::NOENT,
            (_, Some(item)) if !item.files.is_empty() => Errno::NOTEMPTY,
            _ => {
                let item = self.items.remove(&source).unwrap_or_default();
                self.items.insert(target, item);
                return Ok(());
            }
        };
        let path = |(group, item): (Group, &str)| Paths::new("".as_ref()).item(group, item);
        Err(StoreError::Move { from: path(from)?, to: path(to)?, source: errno.into() })
    }

    fn prune(&mut self, item: &str) {
        let of_item =
            |(group, name): &(Group, String)| *group == Group::Archive && archive::number(item, name).is_some();
        let mut sets: Vec<_> =
            self.items.iter().filter(|(key, _)| of_item(key)).map(|(key, set)| (set.archived, key.clone())).collect();
        sets.sort();
        for (_, key) in sets.iter().rev().skip(archive::KEPT) {
            self.items.remove(key);
        }
    }
}

impl Store for MemoryStore {
    fn load(&self, group: Group, item: &str, aspect: &Aspect) -> Result<Option<Vec<u8>>, StoreError> {
        checked(item)?;
        checked_file(aspect)?;
        Ok(self.file(group, item, aspect, |(data, _)| data.clone()))
    }

    fn save(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<(), StoreError> {
        let key = (group, checked(item)?.to_owned());
        let name = checked_file(aspect)?;
        self.content().items.entry(key).or_default().files.insert(name, (data.to_vec(), Timestamp::now()));
        Ok(())
    }

    fn create(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<bool, StoreError> {
        let key = (group, checked(item)?.to_owned());
        let name = checked_file(aspect)?;
        let mut content = self.content();
        let files = &mut content.items.entry(key).or_default().files;
        if files.contains_key(&name) {
            return Ok(false);
        }
        files.insert(name, (data.to_vec(), Timestamp::now()));
        Ok(true)
    }

    fn remove(&self, group: Group, item: &str, aspect: &Aspect) -> Result<(), StoreError> {
        let key = (group, checked(item)?.to_owned());
        let name = checked_file(aspect)?;
        if let Some(item) = self.content().items.get_mut(&key) {
            item.files.remove(&name);
        }
        Ok(())
    }

    fn purge(&self, group: Group, item: &str) -> Result<(), StoreError> {
        self.content().items.remove(&(group, checked(item)?.to_owned()));
        Ok(())
    }

    fn clear(&self, group: Group, item: &str) -> Result<(), StoreError> {
        if let Some(item) = self.content().items.get_mut(&(group, checked(item)?.to_owned())) {
            item.files.clear();
        }
        Ok(())
    }

    fn list(&self, group: Group) -> Result<Vec<String>, StoreError> {
        let content = self.content();
        Ok(content.items.keys().filter(|key| key.0 == group).map(|key| key.1.clone()).collect())
    }

    fn ocsp_responses(&self) -> Result<Vec<(String, [u8; 20], Timestamp)>, StoreError> {
        let content = self.content();
        let items = content.items.iter().filter(|((group, _), _)| *group == Group::Ocsp);
        let files = items.flat_map(|((_, item), content)| content.files.iter().map(move |file| (item, file)));
        let response = |(item, (name, (_, written))): (&String, (&String, &(Vec<u8>, Timestamp)))| {
            Some((item.clone(), Aspect::ocsp_sha1(name)?, *written))
        };
        Ok(files.filter_map(response).collect())
    }

    fn exists(&self, group: Group, item: &str, aspect: &Aspect) -> bool {
        self.file(group, item, aspect, |_| ()).is_some()
    }

    fn modified(&self, group: Group, item: &str, aspect: &Aspect) -> Option<Timestamp> {
        self.file(group, item, aspect, |(_, time)| *time)
    }

    fn generation(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let generation = self.content().generation;
        Ok((generation > 0).then(|| generation.to_string().into_bytes()))
    }

    fn bump_generation(&self) -> Result<Vec<u8>, StoreError> {
        let mut content = self.content();
        content.generation += 1;
        Ok(content.generation.to_string().into_bytes())
    }

    fn rename(&self, from: (Group, &str), to: (Group, &str)) -> Result<(), StoreError> {
        self.content().rename(from, to)
    }

    fn replace(&self, item: &str) -> Result<(), StoreError> {
        let new = (Group::Tmp, item);
        let place = (Group::Domains, item);
        let mut content = self.content();
        let former = (Group::Domains, checked(item)?.to_owned());
        if !content.items.contains_key(&(Group::Tmp, item.to_owned())) || !content.items.contains_key(&former) {
            return content.rename(new, place);
        }
        let free = archive::names(item).find(|name| !content.items.contains_key(&(Group::Archive, name.clone())));
        let free = free.ok_or_else(|| StoreError::ArchiveFull(item.to_owned()))?;
        content.archived += 1;
        let archived = content.archived;
        content.items.entry(former).or_default().archived = archived;
        content.rename(place, (Group::Archive, &free))?;
        content.rename(new, place)?;
        content.prune(item);
        Ok(())
    }

    fn claim(&self, item: &str) -> Result<Option<WorkClaim>, StoreError> {
        let item = checked(item)?;
        if !self.content().claimed.insert(item.to_owned()) {
            return Ok(None);
        }
        Ok(Some(WorkClaim::new(Held { content: Arc::clone(&self.content), item: item.to_owned() })))
    }

    fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut content = lock(&self.content);
        content.claimed.remove(&self.item);
        let key = (Group::Staging, self.item.clone());
        if content.items.get(&key).is_some_and(|item| item.files.is_empty()) {
            content.items.remove(&key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::suite;
    use super::*;

    #[test]
    fn behaves_as_a_store() {
        suite::run(&MemoryStore::new());
    }
}
