//! Claims: the exclusive right to work on an item. In the file store, a lock on a file of the item's name in `locks/`.
//!
//! Only root and the server's user can enter that directory, so nobody else can hold a claim. The locks are on regular files
//! that are open for writing: NFS has locks between machines for such files and none for directories.

use std::any::Any;
use std::fs::{self, File};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::StoreError;
use super::dir::Dir;
use crate::model::Status;

/// The mode of `locks/`.
pub(super) const DIR_MODE: u32 = 0o700;

/// The most tries: more lock files in a row that were just removed are not a coincidence.
const RACES: u32 = 100;

/// The exclusive right to work on an item, given back when it is dropped.
#[must_use = "dropping it gives the claim back"]
pub struct WorkClaim(#[expect(dead_code, reason = "kept for what its drop does")] Box<dyn Any + Send + Sync>);

/// A locked file, given back when it is dropped.
pub(super) struct Locked(File);

/// The claim on an item.
struct Held {
    dir: Dir,
    item: String,
    /// The item's directory in `staging/`.
    staged: PathBuf,
    file: Locked,
}

impl WorkClaim {
    pub(super) fn new(held: impl Any + Send + Sync) -> Self {
        Self(Box::new(held))
    }
}

impl std::fmt::Debug for WorkClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WorkClaim")
    }
}

impl Locked {
    /// Locks a file; `false` if another process has it locked.
    pub(super) fn try_lock(file: &File) -> Result<bool, Errno> {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// A file that [`Locked::try_lock`] has locked.
    pub(super) fn new(file: File) -> Self {
        Self(file)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing the file does not release the lock: processes forked meanwhile have it open, too.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A directory with files is not removed.
        let _ = fs::remove_dir(&self.staged);
        // Removed while the lock is held: a process that has the file open finds that it is no longer in its place.
        if self.dir.leads_to(&self.item, &self.file.0) {
            self.dir.discard(&self.item);
        }
    }
}

/// Locks the file of an item; `None` if somebody else has it locked. An item that is empty in the end is removed.
pub(super) fn claim(
    locks: impl Fn() -> Result<Dir, StoreError>,
    item: &str,
    staged: PathBuf,
) -> Result<Option<WorkClaim>, StoreError> {
    for _ in 0..RACES {
        let dir = locks()?;
        let file = match dir.open_lock(item) {
            // The last holder removed the file just after it was opened.
            Err(error) if error.status() == Status::NOT_FOUND => continue,
            opened => opened?,
        };
        if !Locked::try_lock(&file).map_err(|error| StoreError::io("lock", dir.path().join(item), error))? {
            return Ok(None);
        }
        let file = Locked::new(file);
        // A lock on a file that was removed meanwhile excludes nobody.
        if dir.leads_to(item, &file.0) {
            return Ok(Some(WorkClaim::new(Held { dir, item: item.to_owned(), staged, file })));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::dir::Links;
    use super::*;

    const ITEM: &str = "a.org";

    fn take(base: &Path) -> Result<Option<WorkClaim>, StoreError> {
        let locks = || Dir::open_or_make(&base.join("locks"), DIR_MODE, Links::Refuse).map(|(dir, _)| dir);
        claim(locks, ITEM, base.join("staging").join(ITEM))
    }

    #[test]
    fn a_lock_on_a_removed_file_is_not_a_claim_and_its_end_does_not_touch_the_next() {
        let temp = tempfile::tempdir().unwrap();
        let former = take(temp.path()).unwrap();
        fs::remove_file(temp.path().join("locks").join(ITEM)).unwrap();
        let current = take(temp.path()).unwrap();
        assert!(former.is_some() && current.is_some());
        drop(former);
        assert!(take(temp.path()).unwrap().is_none());
    }

    #[test]
    fn a_claim_leaves_nothing_behind_and_is_not_held_by_copies_of_its_handle() {
        let temp = tempfile::tempdir().unwrap();
        let staged = temp.path().join("staging").join(ITEM);
        fs::create_dir_all(&staged).unwrap();
        let file = File::create(temp.path().join("lock")).unwrap();
        let copy = file.try_clone().unwrap();
        assert!(Locked::try_lock(&file).unwrap());
        drop(Locked::new(file));
        assert!(Locked::try_lock(&File::open(temp.path().join("lock")).unwrap()).unwrap(), "{copy:?}");
        let claim = take(temp.path()).unwrap();
        let locks = temp.path().join("locks");
        assert_eq!(fs::metadata(locks.join(ITEM)).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(&locks).unwrap().mode() & 0o7777, DIR_MODE);
        drop(claim);
        assert!(fs::read_dir(&locks).unwrap().next().is_none() && !staged.exists());
    }

    #[test]
    fn a_link_is_not_followed_and_a_long_name_fits() {
        let temp = tempfile::tempdir().unwrap();
        drop(take(temp.path()).unwrap());
        symlink("/etc/passwd", temp.path().join("locks").join(ITEM)).unwrap();
        assert!(take(temp.path()).is_err());
        let longest = "x".repeat(253);
        let locks = || Dir::open(&temp.path().join("locks"), Links::Refuse);
        assert!(claim(locks, &longest, temp.path().join("none")).unwrap().is_some());
    }

    #[test]
    fn a_store_that_is_gone_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(take(&temp.path().join("gone")).unwrap_err().status(), Status::NOT_FOUND);
    }

    #[test]
    fn many_takers_one_claim() {
        let temp = tempfile::tempdir().unwrap();
        let held = AtomicU32::new(0);
        let work = || {
            for _ in 0..200 {
                if let Some(claimed) = take(temp.path()).unwrap() {
                    assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0);
                    held.fetch_sub(1, Ordering::SeqCst);
                    drop(claimed);
                }
            }
        };
        std::thread::scope(|scope| [0; 3].map(|_| scope.spawn(work)).into_iter().for_each(|t| t.join().unwrap()));
    }
}
