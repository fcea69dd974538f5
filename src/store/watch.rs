//! Watches of groups by inotify(7): what others change is told, and nobody has to look for it.
//!
//! The queue belongs to the process that made it and to those forked from it since: each piece of news is had by one of them.

use std::collections::{BTreeSet, HashMap};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, Event, ReadFlags, Reader, WatchFlags};
use rustix::fs::{FileType, Mode, OFlags, fstat, openat, statfs};
use rustix::io::{Errno, ioctl_fionread};

use super::dir::TEMP_SUFFIX;

/// The most items that are watched. Each costs about a kilobyte of the kernel, which limits them for each user.
const MOST_ITEMS: usize = 1 << 14;

/// The most entries that an item has; where there are more, none of the store's programs has made them.
const MOST_FILES: usize = 100;

/// The most events that are read at a time; a writer may be faster than the reader.
const MOST_EVENTS: usize = 100_000;

/// File systems of which every change is made by this machine, by the numbers that statfs(2) has for them: ext2 to ext4, XFS,
/// Btrfs, tmpfs, ZFS, F2FS, bcachefs, JFS. Elsewhere inotify may tell nothing of what others write.
const LOCAL: [u64; 8] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x2FC1_2FC1, 0xF2F5_2010, 0xCA45_1A4E, 0x3153_464A];

/// Changes of files by any process of the machine.
pub trait Watch: Send + Sync {
    /// Watches the files of one more item, which may be absent; `false` if a change of them could be missed.
    fn add(&self, item: &str) -> bool;

    /// Checks whether there is news to be taken.
    fn has_news(&self) -> bool;

    /// Takes all news.
    fn take(&self) -> News;
}

/// The changes since the last news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Changes in the items of these names, and in files beside them.
    Of(BTreeSet<String>),
    /// Changes anywhere.
    Everywhere,
}

/// A watch of the directory of a group, and of its items that were added.
pub(super) struct Inotify {
    queue: OwnedFd,
    path: PathBuf,
    device: u64,
    group: i32,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    items: HashMap<i32, String>,
    watches: HashMap<String, i32>,
    /// The directory of the group was removed, or another one is in its place.
    is_lost: bool,
}

impl Inotify {
    /// Begins to watch a directory; `None` where its file system may be changed by other machines.
    ///
    /// # Errors
    /// If inotify cannot watch it.
    pub(super) fn begin(path: &Path) -> Result<Option<Self>, Errno> {
        // Signed and narrower on some machines.
        let kind = statfs(path)?.f_type as u64 & 0xFFFF_FFFF;
        if !LOCAL.contains(&kind) {
            return Ok(None);
        }
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let group = inotify::add_watch(&queue, path, changes())?;
        let device = device(path, OFlags::empty())?.0;
        Ok(Some(Self { queue, path: path.to_owned(), device, group, known: Mutex::default() }))
    }

    /// Checks whether the item is a directory of this file system, with files that are no links: a change where a link leads to
    /// would not be told.
    fn is_plain(&self, path: &Path) -> bool {
        let Ok((device, handle)) = device(path, OFlags::NOFOLLOW) else { return false };
        let Ok(entries) = rustix::fs::Dir::read_from(&handle) else { return false };
        let mut files = 0;
        let is_plain = |kind| matches!(kind, FileType::RegularFile | FileType::Directory);
        let is_good = entries.into_iter().all(|entry| {
            files += 1;
            files <= MOST_FILES && entry.is_ok_and(|entry| is_plain(entry.file_type()))
        });
        device == self.device && is_good
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Inotify {
    fn add(&self, item: &str) -> bool {
        let mut known = self.known();
        if known.is_lost || known.items.len() >= MOST_ITEMS {
            return false;
        }
        let path = self.path.join(item);
        let watch = match inotify::add_watch(&self.queue, &path, changes() | WatchFlags::DONT_FOLLOW) {
            Ok(watch) => watch,
            // The watch of the group tells when it comes.
            Err(Errno::NOENT) => return true,
            Err(_) => return false,
        };
        if let Some(former) = known.add(item, watch) {
            // Another directory has that name now.
            let _ = inotify::remove_watch(&self.queue, former);
        }
        self.is_plain(&path)
    }

    fn has_news(&self) -> bool {
        self.known().is_lost || ioctl_fionread(&self.queue).map_or(true, |size| size > 0)
    }

    fn take(&self) -> News {
        let mut known = self.known();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        let mut changed = BTreeSet::new();
        for _ in 0..MOST_EVENTS {
            match reader.next() {
                Ok(event) if known.heed(&event, self.group, &mut changed) => {}
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !known.is_lost => return News::Of(changed),
                // The rest of the queue is of no interest any more, and is news once more.
                Ok(_) | Err(_) => break,
            }
        }
        News::Everywhere
    }
}

impl Known {
    /// Remembers the watch of an item. Returns its former one.
    fn add(&mut self, item: &str, watch: i32) -> Option<i32> {
        self.items.insert(watch, item.to_owned());
        let former = self.watches.insert(item.to_owned(), watch).filter(|former| *former != watch)?;
        self.items.remove(&former).map(|_| former)
    }

    /// Notes the item that an event is about; `false` if it may be about any.
    fn heed(&mut self, event: &Event<'_>, group: i32, changed: &mut BTreeSet<String>) -> bool {
        let is_gone = event.events().intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT);
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            return false;
        }
        let is_temporary = event.file_name().is_some_and(|name| name.to_bytes().ends_with(TEMP_SUFFIX.as_bytes()));
        if event.wd() == group {
            let name = event.file_name().and_then(|name| name.to_str().ok());
            self.is_lost |= name.is_none();
            changed.extend(name.filter(|_| !is_temporary).map(str::to_owned));
            return !self.is_lost;
        }
        let Some(item) = self.items.get(&event.wd()) else {
            // Of a directory that is watched no more, or that another process has added.
            return is_gone;
        };
        if !is_temporary {
            changed.insert(item.clone());
        }
        if is_gone {
            let item = self.items.remove(&event.wd()).unwrap_or_default();
            self.watches.remove(&item);
        }
        true
    }
}

/// The events by which files get another content, and directories another name.
fn changes() -> WatchFlags {
    let files = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE;
    files | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR
}

/// Opens a directory. Returns the number of its file system, too.
fn device(path: &Path, flags: OFlags) -> Result<(u64, OwnedFd), Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = openat(rustix::fs::CWD, path, flags, Mode::empty())?;
    Ok((fstat(&handle)?.st_dev, handle))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::store::{Aspect, FileStore, Group, Store};

    fn news(of: &[&str]) -> News {
        News::Of(of.iter().map(|name| (*name).to_owned()).collect())
    }

    /// Returns a store, and a watch of `live/`, in which nothing was added.
    fn scene() -> (tempfile::TempDir, FileStore, Inotify) {
        let temp = tempfile::tempdir().unwrap();
        let store = FileStore::open(&temp.path().join("md")).unwrap();
        store.prepare(None).unwrap();
        let watch = Inotify::begin(&temp.path().join("md/live")).unwrap().expect("a local file system");
        (temp, store, watch)
    }

    fn write(store: &FileStore, item: &str) {
        store.save(Group::Live, item, &Aspect::LiveJson, b"{}").unwrap();
    }

    #[test]
    fn changes_are_told_once_and_by_the_names_of_items() {
        let (temp, store, watch) = scene();
        write(&store, "old.test");
        assert!(watch.has_news());
        assert_eq!(watch.take(), news(&["old.test"]), "it is new");
        assert!(watch.add("old.test") && watch.add("old.test") && watch.add("absent.test"));
        assert_eq!((watch.has_news(), watch.take()), (false, news(&[])));
        write(&store, "old.test");
        write(&store, "absent.test");
        store.bump_generation().unwrap();
        assert!(watch.has_news());
        let News::Of(changed) = watch.take() else { panic!("all of it is known") };
        assert!(["old.test", "absent.test", ".generation"].iter().all(|name| changed.contains(*name)), "{changed:?}");
        assert!(!watch.has_news());

        // As editors and `cp` write.
        let file = temp.path().join("md/live/old.test/live.json");
        fs::write(&file, "in place").unwrap();
        assert_eq!(watch.take(), news(&["old.test"]));
        fs::write(file.with_extension("tmp"), "not yet").unwrap();
        assert_eq!(watch.take(), news(&[]), "files that are being written are nobody's business");
    }

    #[test]
    fn another_directory_of_the_same_name_is_watched_in_place_of_the_former() {
        let (temp, store, watch) = scene();
        write(&store, "a.test");
        assert!(watch.add("a.test"));
        for _ in 0..3 {
            fs::rename(temp.path().join("md/live/a.test"), temp.path().join("md/tmp-of-somebody")).unwrap();
            write(&store, "a.test");
            assert!(matches!(watch.take(), News::Of(changed) if changed.contains("a.test")));
            assert!(watch.add("a.test"));
            watch.take();
            fs::remove_dir_all(temp.path().join("md/tmp-of-somebody")).unwrap();
            assert_eq!((watch.take(), watch.known().items.len()), (news(&[]), 1));
            write(&store, "a.test");
            assert_eq!(watch.take(), news(&["a.test"]));
        }
        store.purge(Group::Live, "a.test").unwrap();
        assert_eq!((watch.take(), watch.known().items.len()), (news(&["a.test"]), 0));
    }

    #[test]
    fn where_a_change_could_be_missed_the_watch_says_so() {
        let (temp, store, watch) = scene();
        let live = temp.path().join("md/live");
        let other = temp.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("live.json"), "{}").unwrap();
        symlink(&other, live.join("link.test")).unwrap();
        write(&store, "linked.test");
        fs::remove_file(live.join("linked.test/live.json")).unwrap();
        symlink(other.join("live.json"), live.join("linked.test/live.json")).unwrap();
        fs::write(live.join("file.test"), "").unwrap();
        for item in ["link.test", "linked.test", "file.test"] {
            assert!(!watch.add(item), "{item}");
        }
        watch.take();

        fs::rename(&live, temp.path().join("former")).unwrap();
        store.prepare(None).unwrap();
        assert!(!watch.add("a.test") || watch.has_news());
        assert_eq!(watch.take(), News::Everywhere);
        assert!(watch.has_news() && !watch.add("a.test"), "for good");
        assert_eq!(watch.take(), News::Everywhere);
        assert!(Inotify::begin(Path::new("/proc")).unwrap().is_none());
        assert_eq!(Inotify::begin(&live.join("absent")).err(), Some(Errno::NOENT));
    }

    #[test]
    fn changes_in_a_directory_that_another_process_added_may_be_anywhere() {
        let (_temp, store, watch) = scene();
        write(&store, "a.test");
        assert!(watch.add("a.test"));
        watch.take();
        *watch.known() = Known::default();
        write(&store, "a.test");
        assert_eq!(watch.take(), News::Everywhere);
    }
}
