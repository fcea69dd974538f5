//! Claims: who may work on an item. In the file store, a lock on the item's directory.

use std::any::Any;
use std::fs;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::StoreError;
use super::files::Dir;
use crate::model::Status;

/// More of these in a row is no coincidence.
const RACES: u32 = 100;

/// The right to work on an item, given back when it is dropped.
#[must_use = "dropping it gives the claim back"]
pub struct Claim(#[expect(dead_code, reason = "kept for what its drop does")] Box<dyn Any + Send + Sync>);

/// A locked directory. The lock goes with the handle, so also when the process dies.
struct Held(Dir);

impl Claim {
    pub(super) fn new(held: impl Any + Send + Sync) -> Self {
        Self(Box::new(held))
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Claim")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.0.is_in_place() {
            // Fails if there is something in it, as it should.
            let _ = fs::remove_dir(self.0.path());
        }
    }
}

/// Locks the directory that `make` finds or makes; `None` if somebody else has it.
pub(super) fn claim(make: impl Fn() -> Result<Dir, StoreError>) -> Result<Option<Claim>, StoreError> {
    for _ in 0..RACES {
        let dir = match make() {
            // Its last holder removed it just as it was found.
            Err(error) if error.status() == Status::NOT_FOUND => continue,
            made => made?,
        };
        match flock(dir.handle(), FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            result => result.map_err(|error| StoreError::io("lock", dir.path(), error))?,
        }
        // A lock on a directory that was removed meanwhile keeps nobody off.
        if dir.is_in_place() {
            return Ok(Some(Claim::new(Held(dir))));
        }
    }
    make().map(|_| None)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::files::Links;
    use super::*;

    fn make(path: &Path) -> Result<Dir, StoreError> {
        Dir::open_or_make(path, 0o755, Links::Refuse).map(|(dir, _)| dir)
    }

    #[test]
    fn a_lock_on_a_removed_directory_is_not_a_claim() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.org");
        let former = std::cell::Cell::new(Some(make(&path).unwrap()));
        fs::remove_dir(&path).unwrap();
        let claimed = claim(|| former.take().map_or_else(|| make(&path), Ok)).unwrap();
        assert!(claimed.is_some() && path.is_dir());
        assert!(claim(|| make(&path)).unwrap().is_none());
    }

    #[test]
    fn a_claim_on_a_purged_item_does_not_touch_the_next() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.org");
        let former = claim(|| make(&path)).unwrap();
        fs::remove_dir(&path).unwrap();
        let current = claim(|| make(&path)).unwrap();
        assert!(former.is_some() && current.is_some());
        drop(former);
        assert!(claim(|| make(&path)).unwrap().is_none());
    }

    #[test]
    fn a_store_that_is_gone_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let error = claim(|| make(&temp.path().join("gone/a.org"))).unwrap_err();
        assert_eq!(error.status(), Status::NOT_FOUND);
    }

    #[test]
    fn many_takers_one_claim() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.org");
        let held = std::sync::atomic::AtomicU32::new(0);
        let work = || {
            for _ in 0..200 {
                if let Some(claimed) = claim(|| make(&path)).unwrap() {
                    assert_eq!(held.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    held.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(claimed);
                }
            }
        };
        std::thread::scope(|scope| [0; 3].map(|_| scope.spawn(work)).into_iter().for_each(|t| t.join().unwrap()));
    }
}
