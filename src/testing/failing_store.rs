//! A store in memory, for tests, that counts calls and refuses some as a test demands.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::model::Timestamp;
use crate::store::{Aspect, Group, MemoryStore, News, Secret, Store, StoreError, Watch, WorkClaim};

/// Kinds of calls that are counted and can be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Load,
    Write,
    Remove,
    List,
    Claim,
    /// Taking the lock of the store; if refused, another process has it.
    Lock,
    /// Reading the time of a file, or the generation.
    Look,
}

/// A store whose calls may fail.
#[derive(Default)]
pub struct FailingStore {
    content: MemoryStore,
    asked: Mutex<Vec<(Call, Group, Option<Aspect>)>>,
    refused: Mutex<Vec<(Call, Group)>>,
    /// Number of changes before the store crashes.
    left: Mutex<Option<usize>>,
    crashed: AtomicBool,
    /// Files of whose saving the disk was waited for.
    waited_for: Mutex<Vec<(Group, String)>>,
    /// Files of the server's user.
    planted: Mutex<Vec<(Group, String, Aspect)>>,
    is_watchable: AtomicBool,
    watches: Mutex<Vec<(Group, Arc<MemoryWatch>)>>,
}

/// A watch that tells of all that is saved in a group, whether an item was added or not.
#[derive(Default)]
pub struct MemoryWatch {
    changed: Mutex<BTreeSet<String>>,
    is_refused: AtomicBool,
    is_deaf: AtomicBool,
}

impl MemoryWatch {
    /// Watches no more items from now on.
    pub fn refuse(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
    }

    /// Tells of no more changes from now on.
    pub fn deafen(&self) {
        self.is_deaf.store(true, Ordering::Relaxed);
    }
}

impl Watch for MemoryWatch {
    fn add(&self, _item: &str) -> bool {
        !self.is_refused.load(Ordering::Relaxed)
    }

    fn has_news(&self) -> bool {
        !self.changed.lock().unwrap().is_empty()
    }

    fn take(&self) -> News {
        News::Of(std::mem::take(&mut self.changed.lock().unwrap()))
    }
}

impl FailingStore {
    /// Lets groups be watched from now on.
    pub fn let_watch(&self) {
        self.is_watchable.store(true, Ordering::Relaxed);
    }

    /// Returns the newest watch of a group.
    pub fn watch_of(&self, group: Group) -> Arc<MemoryWatch> {
        let watches = self.watches.lock().unwrap();
        let newest = watches.iter().rev().find(|(own, _)| *own == group);
        Arc::clone(&newest.expect("it is watched").1)
    }

    fn tell(&self, group: Group, item: &str) {
        for (_, watch) in self.watches.lock().unwrap().iter().filter(|(own, _)| *own == group) {
            if !watch.is_deaf.load(Ordering::Relaxed) {
                watch.changed.lock().unwrap().insert(item.to_owned());
            }
        }
    }

    /// Refuses calls of this kind from now on.
    pub fn refuse(&self, call: Call, group: Group) {
        self.refused.lock().unwrap().push((call, group));
    }

    /// Refuses nothing from now on.
    pub fn recover(&self) {
        self.refused.lock().unwrap().clear();
        *self.left.lock().unwrap() = None;
    }

    /// Refuses every change after this number of changes, as if the process had crashed there.
    pub fn crash_at(&self, changes: usize) {
        *self.left.lock().unwrap() = Some(changes);
    }

    /// Writes a file as any program does that runs as the server's user.
    pub fn plant(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) {
        self.content.save(group, item, aspect, data).unwrap();
        self.planted.lock().unwrap().push((group, item.to_owned(), aspect.clone()));
    }

    /// Checks whether a change was refused by [`FailingStore::crash_at`].
    pub fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::Relaxed)
    }

    fn is_dead(&self, call: Call) -> bool {
        let mut left = self.left.lock().unwrap();
        if !matches!(call, Call::Write | Call::Remove) {
            return false;
        }
        let is_dead = *left == Some(0);
        *left = left.map(|left| left.saturating_sub(1));
        self.crashed.fetch_or(is_dead, Ordering::Relaxed);
        is_dead
    }

    /// Returns the number of calls of this kind, for one aspect or for any.
    pub fn count(&self, call: Call, group: Group, aspect: Option<&Aspect>) -> usize {
        let same = |asked: &&(Call, Group, Option<Aspect>)| {
            (asked.0, asked.1) == (call, group) && (aspect.is_none() || asked.2.as_ref() == aspect)
        };
        self.asked.lock().unwrap().iter().filter(same).count()
    }

    /// Returns the files that were saved for good since the last call, by group and name.
    pub fn waited_for(&self) -> Vec<(Group, String)> {
        std::mem::take(&mut self.waited_for.lock().unwrap())
    }

    fn see(&self, call: Call, group: Group, aspect: Option<&Aspect>) -> Result<&MemoryStore, StoreError> {
        self.asked.lock().unwrap().push((call, group, aspect.cloned()));
        if self.is_dead(call) || self.refused.lock().unwrap().contains(&(call, group)) {
            let source = io::Error::from_raw_os_error(30);
            return Err(StoreError::Io { action: "use", path: group.name().into(), source });
        }
        Ok(&self.content)
    }
}

impl Store for FailingStore {
    fn load(&self, group: Group, item: &str, aspect: &Aspect) -> Result<Option<Vec<u8>>, StoreError> {
        self.see(Call::Load, group, Some(aspect))?.load(group, item, aspect)
    }

    fn load_with_owner(
        &self,
        group: Group,
        item: &str,
        aspect: &Aspect,
    ) -> Result<Option<(Vec<u8>, bool)>, StoreError> {
        let content = self.load(group, item, aspect)?;
        let is_planted = self.planted.lock().unwrap().contains(&(group, item.to_owned(), aspect.clone()));
        Ok(content.map(|content| (content, !is_planted)))
    }

    fn save(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<(), StoreError> {
        self.waited_for.lock().unwrap().push((group, aspect.file_name()));
        self.save_lazily(group, item, aspect, data)
    }

    fn save_lazily(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<(), StoreError> {
        self.planted.lock().unwrap().retain(|planted| *planted != (group, item.to_owned(), aspect.clone()));
        self.see(Call::Write, group, Some(aspect))?.save(group, item, aspect, data)?;
        self.tell(group, item);
        Ok(())
    }

    fn create(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<bool, StoreError> {
        self.see(Call::Write, group, Some(aspect))?.create(group, item, aspect, data)
    }

    fn remove(&self, group: Group, item: &str, aspect: &Aspect) -> Result<(), StoreError> {
        self.see(Call::Remove, group, Some(aspect))?.remove(group, item, aspect)
    }

    fn purge(&self, group: Group, item: &str) -> Result<(), StoreError> {
        self.see(Call::Remove, group, None)?.purge(group, item)
    }

    fn clear(&self, group: Group, item: &str) -> Result<(), StoreError> {
        self.see(Call::Remove, group, None)?.clear(group, item)
    }

    fn list(&self, group: Group) -> Result<Vec<String>, StoreError> {
        self.see(Call::List, group, None)?.list(group)
    }

    fn ocsp_responses(&self) -> Result<Vec<(String, [u8; 20], Timestamp)>, StoreError> {
        self.see(Call::List, Group::Ocsp, None)?.ocsp_responses()
    }

    fn exists(&self, group: Group, item: &str, aspect: &Aspect) -> bool {
        self.content.exists(group, item, aspect)
    }

    fn modified(&self, group: Group, item: &str, aspect: &Aspect) -> Option<Timestamp> {
        self.content.modified(group, item, aspect)
    }

    fn written(&self, group: Group, item: &str, aspect: &Aspect) -> Option<Timestamp> {
        self.see(Call::Look, group, Some(aspect)).ok()?.written(group, item, aspect)
    }

    fn watch(&self, group: Group) -> Option<Arc<dyn Watch>> {
        let watch = self.is_watchable.load(Ordering::Relaxed).then(Arc::<MemoryWatch>::default)?;
        self.watches.lock().unwrap().push((group, Arc::clone(&watch)));
        Some(watch)
    }

    fn generation(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.see(Call::Look, Group::Live, None)?.generation()
    }

    fn bump_generation(&self) -> Result<Vec<u8>, StoreError> {
        self.see(Call::Write, Group::Live, None)?.bump_generation()
    }

    fn rename(&self, from: (Group, &str), to: (Group, &str)) -> Result<(), StoreError> {
        self.see(Call::Write, to.0, None)?.rename(from, to)
    }

    fn replace(&self, item: &str) -> Result<(), StoreError> {
        self.see(Call::Write, Group::Domains, None)?.replace(item)
    }

    fn claim(&self, item: &str) -> Result<Option<WorkClaim>, StoreError> {
        self.see(Call::Claim, Group::Staging, None)?.claim(item)
    }

    fn lock_within(&self, patience: Duration) -> Result<Option<WorkClaim>, StoreError> {
        let is_taken = self.refused.lock().unwrap().contains(&(Call::Lock, Group::Domains));
        if is_taken { Ok(None) } else { self.content.lock_within(patience) }
    }

    fn secret(&self) -> &Secret {
        self.content.secret()
    }
}
