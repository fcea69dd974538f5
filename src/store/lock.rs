//! Locks on the whole store, each on a file beside the groups: the lock of a start or activation in progress, and the mark of a
//! running server. Only root, or the user who starts the server, can open the files.

use std::fs::{File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::claim::Locked;
use super::dir::Dir;
use super::{StoreError, WorkClaim};

/// The file of a lock, and its mode.
pub(super) type Kind = (&'static str, u32);

/// The lock that the C module takes too. Members of the group of the store's owner can see that it is locked.
pub(super) const STORE: Kind = ("store.lock", 0o640);
/// The lock held while certificates change their places, and while a start reads them.
pub(super) const CHANGE: Kind = ("change.lock", 0o600);
/// The lock held as long as a server runs.
const SERVER: Kind = ("server.lock", 0o600);

/// The pause between tries.
const POLL: Duration = Duration::from_millis(100);

/// The wait for the mark: a server that is told to stop needs a moment, and the next may be started meanwhile.
pub(super) const LEAVING: Duration = Duration::from_secs(2);

/// Waits for a lock by flock, as APR and so the C module do on Linux. The other kind of lock, by fcntl, would not exclude the
/// C module, and both together block each other on network file systems.
pub(super) fn lock_within(dir: &Dir, kind: Kind, patience: Duration) -> Result<Option<WorkClaim>, StoreError> {
    let file = open(dir, kind)?;
    let locked = wait(patience, || Locked::try_lock(&file));
    let locked = locked.map_err(|error| StoreError::io("lock", dir.path().join(kind.0), error))?;
    Ok(locked.then(|| WorkClaim::new(Locked::new(file))))
}

/// Sets the mark of a server. It ends with the last process of the server, however that ends; commands do not inherit it.
pub(super) fn occupy(dir: &Dir, patience: Duration) -> Result<Option<OwnedFd>, StoreError> {
    let file = open(dir, SERVER)?;
    let occupied = wait(patience, || Locked::try_lock(&file));
    let occupied = occupied.map_err(|error| StoreError::io("lock", dir.path().join(SERVER.0), error))?;
    Ok(occupied.then(|| file.into()))
}

/// Whether the handle is of this store's mark.
pub(super) fn is_mark(dir: &Dir, handle: &File) -> bool {
    dir.leads_to(SERVER.0, handle)
}

fn open(dir: &Dir, (name, mode): Kind) -> Result<File, StoreError> {
    let failed = |error| StoreError::io("open", dir.path().join(name), error);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat(dir.handle(), name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
    let file = File::from(file);
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    Ok(file)
}

/// Tries as long as there is patience; `false` if somebody else had the lock all the time.
fn wait(patience: Duration, attempt: impl Fn() -> Result<bool, Errno>) -> Result<bool, Errno> {
    let until = Instant::now() + patience;
    loop {
        if attempt()? {
            return Ok(true);
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

    use super::super::dir::Links;
    use super::*;

    fn scene() -> (tempfile::TempDir, impl Fn() -> Dir) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().to_owned();
        (temp, move || Dir::open(&path, Links::Follow).unwrap())
    }

    #[test]
    fn the_files_of_locks_stay_and_are_not_for_everybody() {
        let (temp, dir) = scene();
        for (name, mode) in [STORE, CHANGE, STORE, CHANGE] {
            assert!(lock_within(&dir(), (name, mode), Duration::ZERO).unwrap().is_some());
            assert_eq!(fs::metadata(temp.path().join(name)).unwrap().permissions().mode() & 0o7777, mode);
        }
        drop(occupy(&dir(), Duration::ZERO).unwrap());
        assert_eq!(fs::metadata(temp.path().join(SERVER.0)).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn one_process_at_a_time_has_a_lock_and_the_locks_are_independent() {
        let (_temp, dir) = scene();
        let first = lock_within(&dir(), STORE, Duration::ZERO).unwrap();
        assert!(first.is_some() && lock_within(&dir(), STORE, Duration::from_millis(1)).unwrap().is_none());
        assert!(lock_within(&dir(), CHANGE, Duration::ZERO).unwrap().is_some());
        drop(first);
        assert!(lock_within(&dir(), STORE, Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn a_lock_that_cannot_be_had_is_an_error() {
        let (temp, dir) = scene();
        fs::create_dir(temp.path().join(STORE.0)).unwrap();
        let error = lock_within(&dir(), STORE, Duration::from_secs(600)).unwrap_err();
        assert!(error.to_string().contains(STORE.0), "{error}");
    }

    #[test]
    fn one_server_at_a_time_has_the_mark() {
        let (temp, dir) = scene();
        let first = occupy(&dir(), Duration::ZERO).unwrap().map(File::from);
        assert!(occupy(&dir(), Duration::ZERO).unwrap().is_none());
        assert!(is_mark(&dir(), first.as_ref().unwrap()));
        let other = tempfile::tempdir().unwrap();
        assert!(!is_mark(&Dir::open(other.path(), Links::Follow).unwrap(), first.as_ref().unwrap()));
        // A directory, which anybody can open, does not count as a mark.
        let directory = File::open(temp.path()).unwrap();
        assert!(Locked::try_lock(&directory).unwrap());
        drop(first);
        assert!(occupy(&dir(), Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn a_server_that_is_leaving_is_waited_for() {
        let (_temp, dir) = scene();
        let first = std::cell::Cell::new(occupy(&dir(), Duration::ZERO).unwrap());
        let asked = std::sync::atomic::AtomicU32::new(0);
        let next = open(&dir(), SERVER).unwrap();
        let locked = wait(Duration::from_secs(600), || {
            if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
                first.take();
            }
            Locked::try_lock(&next)
        });
        assert_eq!(locked, Ok(true));
    }
}
