//! Files in one directory, written so that after a crash the old content or the new is on disk, complete.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, linkat, mkdirat, openat, renameat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;

use super::StoreError;

/// The most entries of a directory that are looked at: the server's user could make any number.
pub(super) const MOST_ENTRIES: usize = 100_000;

/// The age of a temporary file at which its writer is taken to be dead.
const STALE: Duration = Duration::from_secs(10);

/// The end of the names of files that are not complete yet.
pub(super) const TEMP_SUFFIX: &str = ".tmp";

/// A complete file under a temporary name. It is removed when this is dropped, unless it got its name.
pub(super) struct Pending<'d> {
    dir: &'d Dir,
    file: File,
    temp: String,
    name: &'d str,
}

/// The access to a file: its mode, and its user and group where they are not the writer's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    pub(super) mode: u32,
    pub(super) owner: Option<u32>,
    pub(super) group: Option<u32>,
}

/// The content of a file, and its owner if that is known.
pub(super) type Owned = (Vec<u8>, Option<u32>);

/// Whether symbolic links are followed. Where another user can make them, they could lead root anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Follow,
    Refuse,
}

/// An open directory. All access goes through the handle, so that the directory cannot be exchanged meanwhile.
#[derive(Debug)]
pub(super) struct Dir {
    handle: File,
    path: PathBuf,
    links: Links,
}

impl Links {
    /// The size of the largest file that is read: the store never writes larger ones.
    fn largest(self) -> u64 {
        match self {
            Self::Follow => 16 << 20,
            Self::Refuse => 1 << 20,
        }
    }

    fn flags(self) -> OFlags {
        match self {
            Self::Follow => OFlags::CLOEXEC | OFlags::NOCTTY,
            Self::Refuse => OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NOFOLLOW,
        }
    }
}

impl Dir {
    pub(super) fn open(path: &Path, links: Links) -> Result<Self, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | links.flags();
        let handle = openat(CWD, path, flags, Mode::empty()).map_err(|error| StoreError::io("open", path, error))?;
        Ok(Self { handle: handle.into(), path: path.to_owned(), links })
    }

    /// Opens the directory of a group, which may be a link of the administrator, although no file in it may be one.
    pub(super) fn open_group(path: &Path, links: Links) -> Result<Self, StoreError> {
        Ok(Self { links, ..Self::open(path, Links::Follow)? })
    }

    /// Opens a directory, or makes it with exactly this mode, and returns whether it was made.
    pub(super) fn open_or_make(path: &Path, mode: u32, links: Links) -> Result<(Self, bool), StoreError> {
        let (dir, made) = Self::open_or_make_lazily(path, mode, links)?;
        if made {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Self::open(parent, Links::Follow)?.sync()?;
        }
        Ok((dir, made))
    }

    /// Opens or makes a directory, as [`Dir::open_or_make`] but without waiting for the disk.
    pub(super) fn open_or_make_lazily(path: &Path, mode: u32, links: Links) -> Result<(Self, bool), StoreError> {
        match Self::open(path, links) {
            Err(error) if error.is_absent() => {}
            opened => return Ok((opened?, false)),
        }
        let made = match mkdirat(CWD, path, Mode::RWXU) {
            Err(Errno::EXIST) => false,
            result => result.map(|()| true).map_err(|error| StoreError::io("create directory", path, error))?,
        };
        let dir = Self::open(path, links)?;
        if made {
            dir.set_mode(mode)?;
        }
        Ok((dir, made))
    }

    /// Makes a directory in this one for another user, so that nobody sees it before it belongs to that user. `false` if it was not
    /// made, as there is one of that name, or the file system cannot do that.
    pub(super) fn make_for(&self, user: u32, name: &str, mode: u32) -> bool {
        let Ok(unique) = unique() else { return false };
        let temp = format!(".{name}.{unique:016x}{TEMP_SUFFIX}");
        if mkdirat(&self.handle, &temp, Mode::RWXU).is_err() {
            return false;
        }
        let given = Self::open(&self.path.join(&temp), Links::Refuse).and_then(|dir| {
            dir.set_mode(mode)?;
            dir.set_owner(user)
        });
        let rename = || renameat_with(&self.handle, &temp, &self.handle, name, RenameFlags::NOREPLACE);
        let made = given.is_ok() && rename().is_ok();
        if !made {
            let _ = unlinkat(&self.handle, &temp, AtFlags::REMOVEDIR);
        }
        made
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn handle(&self) -> &File {
        &self.handle
    }

    pub(super) fn owner(&self) -> Result<u32, StoreError> {
        Ok(self.metadata()?.uid())
    }

    /// Returns owner and mode of an entry, whatever it is; `None` if there is none.
    pub(super) fn owner_and_mode(&self, name: &str) -> Option<(u32, u32)> {
        let stat = statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_uid, stat.st_mode & 0o7777))
    }

    fn metadata(&self) -> Result<Metadata, StoreError> {
        self.handle.metadata().map_err(|error| StoreError::io("examine", &self.path, error))
    }

    /// Sets the mode of the directory, whatever the umask.
    pub(super) fn set_mode(&self, mode: u32) -> Result<(), StoreError> {
        if self.metadata()?.mode() & 0o7777 == mode {
            return Ok(());
        }
        let failed = |error| StoreError::io("set the mode of", &self.path, error);
        self.handle.set_permissions(Permissions::from_mode(mode)).map_err(failed)
    }

    /// Gives the directory to a user; its group stays.
    pub(super) fn set_owner(&self, user: u32) -> Result<(), StoreError> {
        if self.owner()? == user {
            return Ok(());
        }
        fchown(&self.handle, Some(user), None).map_err(|source| StoreError::Owner {
            path: self.path.clone(),
            user,
            source,
        })
    }

    /// Makes new, renamed and removed entries survive a power failure.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        match self.handle.sync_all() {
            // Some network file systems do not know the operation for directories.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result.map_err(|error| StoreError::io("sync", &self.path, error)),
        }
    }

    /// Writes all pending data of this directory's file system to disk.
    pub(super) fn sync_file_system(&self) -> Result<(), StoreError> {
        rustix::fs::syncfs(&self.handle).map_err(|error| StoreError::io("sync", &self.path, error))
    }

    /// Returns the content of a file; `None` if there is no such file.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read_with_owner(name)?.map(|(content, _)| content))
    }

    /// Returns the content of a file and its owner, who is not known if the file has another name: whoever gave it that name may
    /// be somebody else.
    pub(super) fn read_with_owner(&self, name: &str) -> Result<Option<Owned>, StoreError> {
        let failed = |error: io::Error| StoreError::io("read", self.path.join(name), error);
        let Some(file) = self.open_file(name).map_err(failed)? else { return Ok(None) };
        let metadata = file.metadata().map_err(failed)?;
        let content = read_all(&file, &metadata, self.links.largest()).map_err(failed)?;
        Ok(Some((content, (metadata.nlink() == 1).then(|| metadata.uid()))))
    }

    /// Returns when a regular file was written, without opening it; `None` if there is none.
    pub(super) fn modified(&self, name: &str) -> Option<SystemTime> {
        let flags = if self.links == Links::Refuse { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
        let stat = statat(&self.handle, name, flags).ok()?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let since = Duration::new(stat.st_mtime.try_into().ok()?, stat.st_mtime_nsec.try_into().ok()?);
        is_file.then(|| SystemTime::UNIX_EPOCH + since)
    }

    /// Returns when a file was written. The file is opened for that: network file systems ask their server then.
    pub(super) fn written(&self, name: &str) -> Option<SystemTime> {
        self.open_file(name).ok()??.metadata().ok()?.modified().ok()
    }

    /// Opens the file of a lock for reading and writing, or makes it. It belongs to the owner of the directory from the
    /// moment at
    /// which others can see it: they must be able to open it, too.
    pub(super) fn open_lock(&self, name: &str) -> Result<File, StoreError> {
        let failed = |error: Errno| StoreError::io("open", self.path.join(name), error);
        let flags = OFlags::RDWR | OFlags::NONBLOCK | self.links.flags();
        let open = || openat(&self.handle, name, flags, Mode::empty());
        let opened = match open() {
            Err(Errno::NOENT) => {
                let owner = self.owner()?;
                let owner = (owner != rustix::process::geteuid().as_raw()).then_some(owner);
                // The name of a temporary file is longer than that of the file, which may be as long as a name can be.
                self.prepare_as(name, "lock", Access { mode: 0o600, owner, group: None }, b"")?.create()?;
                open()
            }
            opened => opened,
        };
        opened.map(File::from).map_err(failed)
    }

    /// Whether this name leads to this file. The file is opened for that, as for [`Dir::written`].
    pub(super) fn leads_to(&self, name: &str, file: &File) -> bool {
        let place = self.open_file(name).ok().flatten().and_then(|place| place.metadata().ok());
        let own = file.metadata().ok();
        place.zip(own).is_some_and(|(place, own)| (place.dev(), place.ino()) == (own.dev(), own.ino()))
    }

    /// Removes a file whose return after a power failure would do no harm.
    pub(super) fn discard(&self, name: &str) {
        let _ = unlinkat(&self.handle, name, AtFlags::empty());
    }

    fn open_file(&self, name: &str) -> io::Result<Option<File>> {
        // A pipe that somebody put here must not make the server wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | self.links.flags();
        match openat(&self.handle, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            opened => Ok(Some(opened?.into())),
        }
    }

    /// Replaces the content of a file. If that fails, the old file is unchanged.
    pub(super) fn write(&self, name: &str, access: impl Into<Access>, data: &[u8]) -> Result<(), StoreError> {
        let pending = self.prepare(name, access, data)?;
        pending.sync()?;
        pending.replace()?;
        self.settle()
    }

    /// Replaces the content of a file without waiting for the disk: a power failure may leave it empty.
    pub(super) fn write_lazily(&self, name: &str, access: impl Into<Access>, data: &[u8]) -> Result<(), StoreError> {
        self.prepare(name, access, data)?.replace()?;
        self.sweep();
        Ok(())
    }

    /// Writes a file that must not exist; `false` if it does.
    pub(super) fn create(&self, name: &str, access: impl Into<Access>, data: &[u8]) -> Result<bool, StoreError> {
        let pending = self.prepare(name, access, data)?;
        pending.sync()?;
        let created = pending.create()?;
        self.settle()?;
        Ok(created)
    }

    /// Gives a file another name, unless the name is taken or there is no such file.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        match linkat(&self.handle, from, &self.handle, to, AtFlags::empty()) {
            Err(Errno::NOENT | Errno::EXIST) => Ok(()),
            Err(error) => {
                Err(StoreError::Move { from: self.path.join(from), to: self.path.join(to), source: error.into() })
            }
            Ok(()) => self.remove(from),
        }
    }

    /// Removes a file; an absent one is fine.
    pub(super) fn remove(&self, name: &str) -> Result<(), StoreError> {
        if self.unlink(name)? { self.sync() } else { Ok(()) }
    }

    /// Removes a file without waiting for the disk; `false` if it is absent.
    pub(super) fn unlink(&self, name: &str) -> Result<bool, StoreError> {
        match unlinkat(&self.handle, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(StoreError::io("remove", self.path.join(name), error)),
            Ok(()) => Ok(true),
        }
    }

    /// Removes all files, but no directories.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        for name in self.names()? {
            match unlinkat(&self.handle, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => {}
                Err(error) => return Err(StoreError::io("remove", self.path.join(name), error)),
            }
        }
        self.sync()
    }

    /// Writes a temporary file. Its name is unique: with a common one, a slow writer could publish the half-written file of
    /// another.
    pub(super) fn prepare<'d>(
        &'d self,
        name: &'d str,
        access: impl Into<Access>,
        data: &[u8],
    ) -> Result<Pending<'d>, StoreError> {
        self.prepare_as(name, name, access, data)
    }

    fn prepare_as<'d>(
        &'d self,
        name: &'d str,
        temp: &str,
        access: impl Into<Access>,
        data: &[u8],
    ) -> Result<Pending<'d>, StoreError> {
        let prepared = unique().and_then(|unique| {
            let temp = format!("{temp}.{unique:016x}{TEMP_SUFFIX}");
            match self.fill(&temp, access.into(), data) {
                Ok(file) => Ok(Pending { dir: self, file, temp, name }),
                Err(error) => {
                    let _ = unlinkat(&self.handle, &temp, AtFlags::empty());
                    Err(error)
                }
            }
        });
        prepared.map_err(|error| StoreError::io("write", self.path.join(name), error))
    }

    /// Completes a change: syncs the directory, and removes the files of dead writers.
    fn settle(&self) -> Result<(), StoreError> {
        self.sync()?;
        self.sweep();
        Ok(())
    }

    /// Sets the access to a file by its content, if it exists and `owner` owns it under this name only: with another owner or name,
    /// in a directory of the server's user, it could be any file of root.
    pub(super) fn protect(&self, name: &str, owner: u32, access: impl Fn(&[u8]) -> Access) -> Result<(), StoreError> {
        let failed = |error: io::Error| StoreError::io("protect", self.path.join(name), error);
        let Some(file) = self.open_file(name).map_err(failed)? else { return Ok(()) };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.uid() != owner || metadata.nlink() != 1 {
            return Ok(());
        }
        let access = access(&read_all(&file, &metadata, self.links.largest()).map_err(failed)?);
        let is_right =
            metadata.mode() & 0o7777 == access.mode && access.group.is_none_or(|group| group == metadata.gid());
        if is_right { Ok(()) } else { access.apply(&file).map_err(failed) }
    }

    fn fill(&self, temp: &str, access: Access, data: &[u8]) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.handle, temp, flags, Mode::RUSR | Mode::WUSR)?);
        access.apply(&file)?;
        file.write_all(data)?;
        Ok(file)
    }

    /// Removes temporary files of writers that died. A failure does not matter: the next change tries again.
    pub(super) fn sweep(&self) {
        for name in self.names().unwrap_or_default() {
            if name.ends_with(TEMP_SUFFIX) && self.age(&name).is_some_and(|age| age > STALE) {
                let _ = unlinkat(&self.handle, &name, AtFlags::empty());
            }
        }
    }

    fn age(&self, name: &str) -> Option<Duration> {
        let stat = statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(stat.st_mtime.try_into().ok()?);
        modified.elapsed().ok()
    }

    /// Returns the entries that have a readable name.
    pub(super) fn names(&self) -> Result<Vec<String>, StoreError> {
        let failed = |error: Errno| StoreError::io("list", &self.path, error);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.handle).map_err(failed)?.take(MOST_ENTRIES) {
            let name = entry.map_err(failed)?.file_name().to_str().map(str::to_owned);
            names.extend(name.ok().filter(|name| name != "." && name != ".."));
        }
        Ok(names)
    }
}

impl From<u32> for Access {
    fn from(mode: u32) -> Self {
        Self { mode, owner: None, group: None }
    }
}

impl Access {
    fn apply(self, file: &File) -> io::Result<()> {
        if self.owner.is_some() || self.group.is_some() {
            fchown(file, self.owner, self.group)?;
        }
        file.set_permissions(Permissions::from_mode(self.mode))
    }
}

impl Pending<'_> {
    /// Writes the content to disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|error| self.failed(error))
    }

    /// Gives the file its name, in place of the old file.
    pub(super) fn replace(&self) -> Result<(), StoreError> {
        let handle = &self.dir.handle;
        renameat(handle, &self.temp, handle, self.name).map_err(|error| self.failed(error.into()))
    }

    /// Gives the file its name, unless there is one; `false` if there is.
    pub(super) fn create(self) -> Result<bool, StoreError> {
        let handle = &self.dir.handle;
        match linkat(handle, &self.temp, handle, self.name, AtFlags::empty()) {
            Err(Errno::EXIST) => Ok(false),
            result => result.map(|()| true).map_err(|error| self.failed(error.into())),
        }
    }

    fn failed(&self, error: io::Error) -> StoreError {
        StoreError::io("write", self.dir.path.join(self.name), error)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(&self.dir.handle, &self.temp, AtFlags::empty());
    }
}

fn read_all(file: &File, metadata: &Metadata, largest: u64) -> io::Result<Vec<u8>> {
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > largest {
        return Err(io::Error::other("it is too large"));
    }
    // One byte more than the file has: the end is found without growing, which would copy a key in memory.
    let mut data = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1);
    file.take(largest).read_to_end(&mut data)?;
    Ok(data)
}

/// Draws a number that nobody else draws.
pub(super) fn unique() -> io::Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Turns the error of an absent file into `None`.
pub(super) fn present<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Err(error) if error.is_absent() => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn scene() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path(), Links::Refuse).unwrap();
        (temp, dir)
    }

    fn entries(dir: &Dir) -> Vec<String> {
        let mut names = dir.names().unwrap();
        names.sort();
        names
    }

    #[test]
    fn replaces_content_and_mode() {
        let (temp, dir) = scene();
        dir.write("a.json", 0o644, b"old").unwrap();
        dir.write("a.json", 0o600, b"new").unwrap();
        assert_eq!(dir.read("a.json").unwrap().unwrap(), b"new");
        assert_eq!(fs::metadata(temp.path().join("a.json")).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(entries(&dir), ["a.json"]);
    }

    #[test]
    fn creates_only_once() {
        let (_temp, dir) = scene();
        assert!(dir.create("a.json", 0o600, b"first").unwrap());
        assert!(!dir.create("a.json", 0o600, b"second").unwrap());
        assert_eq!(dir.read("a.json").unwrap().unwrap(), b"first");
        assert_eq!(entries(&dir), ["a.json"]);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind_and_names_the_file() {
        let (temp, dir) = scene();
        fs::create_dir(temp.path().join("a.json")).unwrap();
        let error = dir.write("a.json", 0o600, b"new").unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}/a.json: Is a directory", temp.path().display()));
        assert_eq!(error.status().0, 21);
        assert_eq!(entries(&dir), ["a.json"]);
    }

    #[test]
    fn temporary_files_of_the_dead_go_those_of_the_living_stay() {
        let (temp, dir) = scene();
        for name in ["job.json.tmp", "job.json.0123456789abcdef.tmp", "job.json.fedcba9876543210.tmp"] {
            fs::write(temp.path().join(name), "{").unwrap();
        }
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        for name in ["job.json.tmp", "job.json.0123456789abcdef.tmp"] {
            File::options().write(true).open(temp.path().join(name)).unwrap().set_modified(long_ago).unwrap();
        }
        dir.write("job.json", 0o600, b"{}").unwrap();
        assert_eq!(entries(&dir), ["job.json", "job.json.fedcba9876543210.tmp"]);
    }

    #[test]
    fn clearing_removes_files_only() {
        let (temp, dir) = scene();
        fs::create_dir(temp.path().join("kept")).unwrap();
        dir.write("a.json", 0o600, b"").unwrap();
        dir.clear().unwrap();
        assert_eq!(entries(&dir), ["kept"]);
    }

    #[test]
    fn reads_regular_files_only() {
        let (temp, dir) = scene();
        fs::create_dir(temp.path().join("dir")).unwrap();
        assert!(dir.read("dir").unwrap_err().to_string().ends_with("/dir: it is not a regular file"));
        rustix::fs::mkfifoat(CWD, temp.path().join("pipe"), Mode::RWXU).unwrap();
        assert!(dir.read("pipe").unwrap_err().to_string().ends_with("/pipe: it is not a regular file"));
        std::os::unix::fs::symlink("/etc/passwd", temp.path().join("link")).unwrap();
        assert_eq!(dir.read("link").unwrap_err().status().0, 40);
        File::create(temp.path().join("huge")).unwrap().set_len((1 << 20) + 1).unwrap();
        assert!(dir.read("huge").unwrap_err().to_string().ends_with("/huge: it is too large"));
        assert_eq!(dir.read("none").unwrap(), None);
    }
}
