//! Locks on the whole store: `store.lock`, which servers that share it take in turns, and the mark of a running server.

use std::fs::{File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;

use super::files::Dir;
use super::{Claim, StoreError};

const FILE: &str = "store.lock";

/// Whoever may use the server's group can see that the store is locked.
const MODE: u32 = 0o640;

/// How often the lock is asked for.
const POLL: Duration = Duration::from_millis(100);

/// A server that is told to stop needs a moment, and the next may be started in it.
pub(super) const LEAVING: Duration = Duration::from_secs(2);

/// Waits for the lock: flock, which is what APR and so the C module take on Linux. The other kind, of fcntl, would not
/// keep it off, and both together block each other on network file systems.
pub(super) fn lock_within(dir: &Dir, patience: Duration) -> Result<Option<Claim>, StoreError> {
    let file = open(dir)?;
    let locked = wait(patience, || flock(&file, FlockOperation::NonBlockingLockExclusive));
    let locked = locked.map_err(|error| StoreError::io("lock", dir.path().join(FILE), error))?;
    Ok(locked.then(|| Claim::new(file)))
}

fn open(dir: &Dir) -> Result<File, StoreError> {
    let failed = |error| StoreError::io("open", dir.path().join(FILE), error);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat(dir.handle(), FILE, flags, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
    let file = File::from(file);
    file.set_permissions(Permissions::from_mode(MODE)).map_err(failed)?;
    Ok(file)
}

/// The mark is a lock on the directory of the store. It ends with the last process of the server, whatever becomes of
/// that, and commands do not inherit it.
pub(super) fn occupy(dir: Dir, patience: Duration) -> Result<Option<OwnedFd>, StoreError> {
    let occupied = wait(patience, || flock(dir.handle(), FlockOperation::NonBlockingLockExclusive));
    let occupied = occupied.map_err(|error| StoreError::io("lock", dir.path(), error))?;
    Ok(occupied.then(|| dir.into_handle()))
}

/// Tries as long as there is patience; `false` if somebody else had the lock all the time.
fn wait(patience: Duration, attempt: impl Fn() -> Result<(), Errno>) -> Result<bool, Errno> {
    let until = Instant::now() + patience;
    loop {
        match attempt() {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error),
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        sleep(left.min(POLL));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::files::Links;
    use super::*;

    fn scene() -> (tempfile::TempDir, impl Fn() -> Dir) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().to_owned();
        (temp, move || Dir::open(&path, Links::Follow).unwrap())
    }

    #[test]
    fn the_file_of_the_lock_stays() {
        let (temp, dir) = scene();
        for _ in 0..2 {
            assert!(lock_within(&dir(), Duration::ZERO).unwrap().is_some());
            let mode = fs::metadata(temp.path().join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, MODE);
        }
    }

    #[test]
    fn one_process_at_a_time_has_the_lock() {
        let (_temp, dir) = scene();
        let first = lock_within(&dir(), Duration::ZERO).unwrap();
        assert!(first.is_some() && lock_within(&dir(), Duration::from_millis(1)).unwrap().is_none());
        drop(first);
        assert!(lock_within(&dir(), Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn a_lock_that_cannot_be_had_is_an_error() {
        let (temp, dir) = scene();
        fs::create_dir(temp.path().join(FILE)).unwrap();
        let error = lock_within(&dir(), Duration::from_secs(600)).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }

    #[test]
    fn one_server_at_a_time_has_the_mark() {
        let (_temp, dir) = scene();
        let first = occupy(dir(), Duration::ZERO).unwrap();
        assert!(first.is_some() && occupy(dir(), Duration::ZERO).unwrap().is_none());
        drop(first);
        assert!(occupy(dir(), Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn a_server_that_is_leaving_is_waited_for() {
        let (_temp, dir) = scene();
        let first = occupy(dir(), Duration::ZERO).unwrap();
        let asked = std::sync::atomic::AtomicU32::new(0);
        let first = std::cell::Cell::new(first);
        let locked = wait(Duration::from_secs(600), || {
            if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
                first.take();
            }
            flock(dir().handle(), FlockOperation::NonBlockingLockExclusive)
        });
        assert_eq!(locked, Ok(true));
    }
}
