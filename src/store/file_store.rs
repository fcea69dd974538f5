//! The store in a directory (`MDStoreDir`), in the layout that releases of the C module share.

use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::dir::{Access, Dir, Links, MOST_ENTRIES, Pending, present};
use super::paths::{Paths, checked, checked_file};
use super::secret::{Header, VERSION};
use super::watch::Inotify;
use super::{
    Aspect, Group, Secret, ServerFacts, Store, StoreError, Watch, WorkClaim, access, archive, claim, generation, lock,
    migration, removal, secret,
};
use crate::log::{note, report};
use crate::model::Timestamp;

/// The number of files below which writing them one by one is quicker.
const FEW: usize = 8;

/// The number of files that are written side by side; each needs two open descriptors.
const AT_ONCE: usize = 128;

/// The longest time that a start spends on each of two things that others may have made many of: files of dead processes in `locks/`,
/// and items whose files may be readable for too many.
const TIDYING: Duration = Duration::from_millis(if cfg!(test) { 600_000 } else { 250 });

/// Opens or makes a directory, waiting for the disk or not.
type OpenOrMake = fn(&Path, u32, Links) -> Result<(Dir, bool), StoreError>;

const EAB_KEY: &[u8] = b"\"hmac\"";

/// A store below one directory.
///
/// Directories of the groups that the server's user works in belong to whoever the directory of the group belongs to,
/// if root makes them; [`FileStore::prepare`] says who that is. Files belong to their writer.
pub struct FileStore {
    pub(super) paths: Paths,
    secret: Secret,
    /// Who opened the store: root, and the children of its process are not.
    opener: u32,
    /// Group of the server's user, where it is known.
    server_group: OnceLock<u32>,
}

impl FileStore {
    /// Opens the store in a directory, which is made if it is absent, and brings it to the present layout.
    ///
    /// # Errors
    /// If the directory cannot be used, or `md_store.json` is damaged or from a later release.
    pub fn open(base: &Path) -> Result<Self, StoreError> {
        if let Some(parent) = base.parent() {
            fs::create_dir_all(parent).map_err(|error| StoreError::io("create directory", parent, error))?;
        }
        let (dir, _) = Dir::open_or_make(base, 0o755, Links::Follow)?;
        let store = Self::read_only(base);
        // Looked for before there is a secret: another process that opens the same new store has not made any then.
        let former = if Header::load(&dir)?.is_none() { Some(store.of_lost_secret()?) } else { None };
        let header = Header::load_or_create(&dir)?;
        let version = header.version;
        let document = header.document;
        let store = Self { secret: header.secret, ..store };
        if let Some((accounts, staged)) = former.filter(|_| header.is_new) {
            store.begin_anew(&accounts, &staged)?;
        }
        if version < VERSION {
            migration::run(&store, version)?;
            Header::upgrade(document, &dir)?;
            note!(Info, "{}: migrated from version {version:?} to {VERSION:?}", base.display());
        }
        Ok(store)
    }

    /// Returns the accounts and renewals of a store that has no secret.
    fn of_lost_secret(&self) -> Result<(Vec<String>, Vec<String>), StoreError> {
        Ok((self.list(Group::Accounts)?, self.list(Group::Staging)?))
    }

    /// Draws a new secret for a store that is not new: files under the lost one cannot be read any more. Renewals are dropped,
    /// except where a process still works with the lost secret. Accounts stay: `md_store.json` may come back from a backup.
    fn begin_anew(&self, accounts: &[String], staged: &[String]) -> Result<(), StoreError> {
        if accounts.is_empty() && staged.is_empty() {
            return Ok(());
        }
        report!(
            MD0009,
            "{}: md_store.json is missing and is created anew: {} accounts and {} renewals in staging can no longer be used and are replaced, certificates in domains stay in use",
            self.base().display(),
            accounts.len(),
            staged.len()
        );
        for item in staged {
            if let Some(_claim) = self.claim(item)? {
                self.clear(Group::Staging, item)?;
            }
        }
        Ok(())
    }

    /// Opens a store whose `md_store.json` cannot be used, to read what is not encrypted.
    #[must_use]
    pub fn read_only(base: &Path) -> Self {
        let opener = rustix::process::geteuid().as_raw();
        Self { paths: Paths::new(base), secret: Secret::absent(), opener, server_group: OnceLock::new() }
    }

    /// Opens the store without making or changing anything, and returns whether opening it would bring it to the present
    /// layout.
    /// `None` if there is no store.
    ///
    /// # Errors
    /// As [`FileStore::open`].
    pub fn look(base: &Path) -> Result<Option<(Self, bool)>, StoreError> {
        let Some(dir) = present(Dir::open(base, Links::Follow))? else { return Ok(None) };
        let header = Header::load(&dir)?;
        Ok(header.map(|Header { secret, version, .. }| (Self { secret, ..Self::read_only(base) }, version < VERSION)))
    }

    /// Makes the directories that the server's user (and group) needs and gives them to that user (if we are root),
    /// repairs modes and owners of what is there, and undoes a replacement that a crash has interrupted. For the start of
    /// a server.
    ///
    /// # Errors
    /// [`StoreError::Owner`] if a directory cannot be given away, others if it cannot be made.
    pub fn prepare(&self, server: Option<(u32, u32)>) -> Result<(), StoreError> {
        let server = server.filter(|_| is_root());
        let user = server.map(|(user, _)| user);
        server.inspect(|(_, group)| _ = self.server_group.set(*group));
        for group in Group::ALL {
            let path = self.paths.group(group);
            if group.is_of_server() || group == Group::Accounts {
                Dir::open_or_make(&path, group.dir_mode(), Links::Follow)?;
            }
            present(Dir::open(&path, Links::Follow).and_then(|dir| adopt(&dir, group, user)))?;
            if group.is_of_server() {
                self.adopt_items(group, user)?;
            }
        }
        let (locks, _) = Dir::open_or_make(&self.paths.locks(), claim::DIR_MODE, Links::Refuse)?;
        locks.set_mode(claim::DIR_MODE)?;
        user.map_or(Ok(()), |user| locks.set_owner(user))?;
        // A dropped claim removes its file. Left files are of dead processes; if root owned them, nobody else could open them.
        let until = Instant::now() + TIDYING;
        locks.names()?.iter().take_while(|_| Instant::now() < until).for_each(|name| drop(self.claim(name)));
        archive::recover(self);
        self.protect_secret();
        self.protect_secrets(Instant::now() + TIDYING);
        Ok(())
    }

    /// Sets modes and owners of the items of a group, except for those of users who have no business there.
    fn adopt_items(&self, group: Group, user: Option<u32>) -> Result<(), StoreError> {
        let dir = Dir::open(&self.paths.group(group), Links::Follow)?;
        for item in self.list(group)? {
            // Few are to be changed, and looking takes less time than opening.
            let Some((owner, mode)) = dir.owner_and_mode(&item) else { continue };
            let is_own = owner == self.opener || user.is_none_or(|user| owner == user);
            let is_right = mode == group.dir_mode() && user.is_none_or(|user| owner == user);
            if is_own && !is_right {
                present(self.item(group, &item).and_then(|dir| self.adopt_own(&dir, group, user)))?;
            }
        }
        Ok(())
    }

    fn adopt_own(&self, dir: &Dir, group: Group, user: Option<u32>) -> Result<(), StoreError> {
        let owner = dir.owner()?;
        let is_own = owner == self.opener || user.is_none_or(|user| owner == user);
        if is_own { adopt(dir, group, user) } else { Ok(()) }
    }

    /// Restricts the file with the secret. A link, or a file that has another name or another owner, stays as it is.
    fn protect_secret(&self) {
        let dir = Dir::open_group(self.base(), Links::Refuse);
        if let Err(err) = dir.and_then(|dir| dir.protect(secret::FILE, self.opener, |_| secret::MODE.into())) {
            note!(Debug, err.status(); "{err}");
        }
    }

    /// Warns of owners and modes that keep the server's user out, or let others in, and that no start repairs. Only root can tell.
    pub fn report_flaws(&self, server: (u32, u32)) {
        if is_root() {
            access::report_flaws(self.base(), server);
        }
    }

    /// Restricts the files with keys of external accounts, which the C module leaves readable for everybody. Goes on at the next start
    /// if there are too many.
    fn protect_secrets(&self, until: Instant) {
        for (group, aspect) in Aspect::WITH_EAB_KEYS {
            let items = self.list(group).unwrap_or_default();
            for item in items.into_iter().take_while(|_| Instant::now() < until) {
                let protected = self.item(group, &item).and_then(|dir| {
                    let owner = if group.is_of_server() { dir.owner()? } else { self.opener };
                    dir.protect(&aspect.file_name(), owner, |data| self.access(&dir, group, &aspect, data))
                });
                if let Err(err) = protected {
                    note!(Debug, err.status(); "{err}");
                }
            }
        }
    }

    /// Returns the access to a file of that content. The server's user, who answers challenges, owns their keys whoever makes
    /// them. A file with the key of an external account is for the server's user only, who reads root's files through the group.
    fn access(&self, dir: &Dir, group: Group, aspect: &Aspect, data: &[u8]) -> Access {
        if group == Group::Challenges && matches!(aspect, Aspect::TlsAlpn01Key(_)) {
            return Access { owner: dir.owner().ok().filter(|_| is_root()), ..group.file_mode(aspect).into() };
        }
        if !(Aspect::WITH_EAB_KEYS.contains(&(group, aspect.clone())) && holds_eab_key(data)) {
            return group.file_mode(aspect).into();
        }
        if group.is_of_server() {
            Access { mode: 0o600, owner: dir.owner().ok().filter(|_| is_root()), group: None }
        } else {
            Access { mode: 0o640, owner: None, group: self.server_group.get().copied() }
        }
    }

    /// Returns the directory of the store.
    #[must_use]
    pub fn base(&self) -> &Path {
        self.paths.base()
    }

    /// Marks the store as used by this server for as long as the handle is open, here or in a child process; `None` if another
    /// server has marked it and does not end within a moment. The mark does not exclude anybody.
    ///
    /// # Errors
    /// If the mark cannot be set.
    pub fn occupy(&self) -> Result<Option<OwnedFd>, StoreError> {
        lock::occupy(&Dir::open(self.base(), Links::Follow)?, lock::LEAVING)
    }

    /// Whether this is the handle that [`FileStore::occupy`] returned for this store.
    #[must_use]
    pub fn is_occupied_by(&self, handle: BorrowedFd<'_>) -> bool {
        let Ok(handle) = handle.try_clone_to_owned() else { return false };
        Dir::open(self.base(), Links::Follow).is_ok_and(|dir| lock::is_mark(&dir, &handle.into()))
    }

    /// Returns the path of a file, for readers without the store. The file may be absent.
    ///
    /// # Errors
    /// If the name is not valid.
    pub fn path(&self, group: Group, item: &str, aspect: &Aspect) -> Result<PathBuf, StoreError> {
        self.paths.file(group, item, aspect)
    }

    /// Returns what the last start of the server has left for others. An unreadable file is removed.
    #[must_use]
    pub fn load_facts(&self) -> ServerFacts {
        Dir::open(self.base(), Links::Follow).map(|dir| ServerFacts::load(&dir)).unwrap_or_default()
    }

    /// Saves what a start of the server leaves for others, if that has changed.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_facts(&self, found: &ServerFacts) -> Result<(), StoreError> {
        found.save(&Dir::open(self.base(), Links::Follow)?)
    }

    /// Opens an item that exists.
    pub(super) fn item(&self, group: Group, item: &str) -> Result<Dir, StoreError> {
        Dir::open(&self.paths.item(group, item)?, links(group))
    }

    /// Opens the directory of the claims. If root makes it, it gets the owner of `staging/`, who needs both.
    fn locks(&self) -> Result<Dir, StoreError> {
        let (dir, made) = Dir::open_or_make(&self.paths.locks(), claim::DIR_MODE, Links::Refuse)?;
        if made && is_root() {
            let staging = present(Dir::open(&self.paths.group(Group::Staging), Links::Follow))?;
            staging.map_or(Ok(()), |staging| dir.set_owner(staging.owner()?))?;
        }
        Ok(dir)
    }

    fn make_item(&self, group: Group, item: &str) -> Result<Dir, StoreError> {
        self.make_item_waiting(true, group, item)
    }

    /// Opens or makes the directory of an item, and waits for the disk or not.
    fn make_item_waiting(&self, waits: bool, group: Group, item: &str) -> Result<Dir, StoreError> {
        let open_or_make: OpenOrMake = if waits { Dir::open_or_make } else { Dir::open_or_make_lazily };
        let path = self.paths.item(group, item)?;
        let (parent, _) = open_or_make(&self.paths.group(group), group.dir_mode(), Links::Follow)?;
        if let Some(dir) = present(Dir::open(&path, links(group)))? {
            return Ok(dir);
        }
        // A running server, which is another user, looks at it at any time.
        let is_given = is_root() && group.is_of_server();
        if is_given && parent.make_for(parent.owner()?, item, group.dir_mode()) && waits {
            parent.sync()?;
        }
        let (dir, made) = open_or_make(&path, group.dir_mode(), links(group))?;
        if made {
            adopt(&dir, group, Some(parent.owner()?).filter(|_| is_root()))?;
        }
        Ok(dir)
    }
}

impl FileStore {
    /// Saves the files that can be saved. Each step is done for all files before the next, so that the disk is waited for
    /// twice and
    /// not twice per file; syncing writes everything else that is pending, too.
    fn save_together(&self, group: Group, aspect: &Aspect, files: &[(&str, Vec<u8>)]) -> Result<(), StoreError> {
        let name = checked_file(aspect)?;
        let dirs: Vec<Dir> = files.iter().map(|(item, _)| self.make_item(group, item)).collect::<Result<_, _>>()?;
        let pending = dirs
            .iter()
            .zip(files)
            .map(|(dir, (_, data))| dir.prepare(&name, self.access(dir, group, aspect, data), data));
        let pending: Vec<Pending<'_>> = pending.collect::<Result<_, _>>()?;
        let base = Dir::open(self.base(), Links::Follow)?;
        base.sync_file_system()?;
        pending.iter().try_for_each(Pending::replace)?;
        base.sync_file_system()?;
        dirs.iter().for_each(Dir::sweep);
        Ok(())
    }
}

impl Store for FileStore {
    fn load(&self, group: Group, item: &str, aspect: &Aspect) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.load_with_owner(group, item, aspect)?.map(|(content, _)| content))
    }

    fn load_with_owner(
        &self,
        group: Group,
        item: &str,
        aspect: &Aspect,
    ) -> Result<Option<(Vec<u8>, bool)>, StoreError> {
        let name = checked_file(aspect)?;
        let Some(dir) = present(self.item(group, item))? else { return Ok(None) };
        let is_trusted = |owner| owner == 0 || owner == self.opener;
        Ok(dir.read_with_owner(&name)?.map(|(content, owner)| (content, owner.is_some_and(is_trusted))))
    }

    fn save(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<(), StoreError> {
        let name = checked_file(aspect)?;
        let dir = self.make_item(group, item)?;
        dir.write(&name, self.access(&dir, group, aspect, data), data)
    }

    fn save_each(&self, group: Group, aspect: &Aspect, files: &[(&str, Vec<u8>)]) -> Vec<Result<(), StoreError>> {
        let save = |files: &[(&str, Vec<u8>)]| -> Vec<Result<(), StoreError>> {
            let together = if files.len() < FEW { None } else { self.save_together(group, aspect, files).ok() };
            match together {
                Some(()) => files.iter().map(|_| Ok(())).collect(),
                None => files.iter().map(|(item, data)| self.save(group, item, aspect, data)).collect(),
            }
        };
        files.chunks(AT_ONCE).flat_map(save).collect()
    }

    fn save_unsettled(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<(), StoreError> {
        let name = checked_file(aspect)?;
        let dir = self.make_item(group, item)?;
        let pending = dir.prepare(&name, self.access(&dir, group, aspect, data), data)?;
        pending.sync()?;
        pending.replace()
    }

    fn save_lazily(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<(), StoreError> {
        let name = checked_file(aspect)?;
        let dir = self.make_item_waiting(false, group, item)?;
        dir.prepare(&name, self.access(&dir, group, aspect, data), data)?.replace()
    }

    fn create(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<bool, StoreError> {
        let name = checked_file(aspect)?;
        let dir = self.make_item(group, item)?;
        dir.create(&name, self.access(&dir, group, aspect, data), data)
    }

    fn create_lazily(&self, group: Group, item: &str, aspect: &Aspect, data: &[u8]) -> Result<bool, StoreError> {
        let name = checked_file(aspect)?;
        let dir = self.make_item(group, item)?;
        dir.prepare(&name, self.access(&dir, group, aspect, data), data)?.create()
    }

    fn remove(&self, group: Group, item: &str, aspect: &Aspect) -> Result<(), StoreError> {
        let name = checked_file(aspect)?;
        present(self.item(group, item))?.map_or(Ok(()), |dir| dir.remove(&name))
    }

    fn remove_lazily(&self, group: Group, item: &str, aspect: &Aspect) -> Result<(), StoreError> {
        let name = checked_file(aspect)?;
        present(self.item(group, item))?.map_or(Ok(()), |dir| dir.unlink(&name).map(|_| ()))
    }

    fn purge(&self, group: Group, item: &str) -> Result<(), StoreError> {
        self.purge_lazily(group, item)?;
        present(Dir::open(&self.paths.group(group), Links::Follow))?.map_or(Ok(()), |group| group.sync())
    }

    fn purge_lazily(&self, group: Group, item: &str) -> Result<(), StoreError> {
        let path = self.paths.item(group, item)?;
        let Some(group) = present(Dir::open(&self.paths.group(group), Links::Follow))? else { return Ok(()) };
        removal::remove(group.handle(), item).map_err(|error| StoreError::io("remove", path, error))
    }

    fn clear(&self, group: Group, item: &str) -> Result<(), StoreError> {
        present(self.item(group, item))?.map_or(Ok(()), |dir| dir.clear())
    }

    fn list(&self, group: Group) -> Result<Vec<String>, StoreError> {
        let path = self.paths.group(group);
        let failed = |error| StoreError::io("list", &path, error);
        let Some(entries) = present(fs::read_dir(&path).map_err(failed))? else { return Ok(Vec::new()) };
        let mut items = Vec::new();
        for entry in entries.take(MOST_ENTRIES) {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().into_string().unwrap_or_default();
            // The root of a file system has a directory of its own.
            if name != "lost+found" && checked(&name).is_ok() && is_directory(&entry, links(group)) {
                items.push(name);
            }
        }
        items.sort();
        Ok(items)
    }

    fn ocsp_responses(&self) -> Result<Vec<(String, [u8; 20], Timestamp)>, StoreError> {
        let mut responses = Vec::new();
        for item in self.list(Group::Ocsp)? {
            let Some(dir) = present(self.item(Group::Ocsp, &item))? else { continue };
            let found = dir.names()?.into_iter().filter_map(|name| Aspect::ocsp_sha1(&name));
            let written = |sha1| Some((sha1, self.modified(Group::Ocsp, &item, &Aspect::OcspJson(sha1))?));
            responses.extend(found.filter_map(written).map(|(sha1, written)| (item.clone(), sha1, written)));
        }
        Ok(responses)
    }

    fn exists(&self, group: Group, item: &str, aspect: &Aspect) -> bool {
        if links(group) == Links::Refuse {
            return self.modified(group, item, aspect).is_some();
        }
        self.paths.file(group, item, aspect).is_ok_and(|path| path.is_file())
    }

    fn modified(&self, group: Group, item: &str, aspect: &Aspect) -> Option<Timestamp> {
        if links(group) == Links::Refuse {
            let name = checked_file(aspect).ok()?;
            return self.item(group, item).ok()?.modified(&name)?.try_into().ok();
        }
        let path = self.paths.file(group, item, aspect).ok()?;
        fs::metadata(path).ok()?.modified().ok()?.try_into().ok()
    }

    fn written(&self, group: Group, item: &str, aspect: &Aspect) -> Option<Timestamp> {
        let name = checked_file(aspect).ok()?;
        self.item(group, item).ok()?.written(&name)?.try_into().ok()
    }

    fn watch(&self, group: Group) -> Option<Arc<dyn Watch>> {
        let path = self.paths.group(group);
        let reason = match Inotify::begin(&path) {
            Ok(Some(watch)) => return Some(Arc::new(watch)),
            Ok(None) => "its file system is not known to be changed by this machine only".to_owned(),
            Err(error) => error.to_string(),
        };
        note!(
            Info,
            "{}: cannot be watched by inotify, so that files of others are looked for every few seconds: {reason}",
            path.display()
        );
        None
    }

    fn generation(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let dir = present(Dir::open_group(&self.paths.group(Group::Live), links(Group::Live)))?;
        Ok(dir.map(|dir| generation::read(&dir)).transpose()?.flatten())
    }

    fn bump_generation(&self) -> Result<Vec<u8>, StoreError> {
        let group = Group::Live;
        let (dir, _) = Dir::open_or_make(&self.paths.group(group), group.dir_mode(), Links::Follow)?;
        generation::bump(&dir, group.file_mode(&Aspect::LiveJson))
    }

    fn rename(&self, from: (Group, &str), to: (Group, &str)) -> Result<(), StoreError> {
        let source = self.paths.item(from.0, from.1)?;
        let target = self.paths.item(to.0, to.1)?;
        let old = self.paths.group(from.0);
        let new = self.paths.group(to.0);
        let (new, _) = Dir::open_or_make(&new, to.0.dir_mode(), Links::Follow)?;
        fs::rename(&source, &target).map_err(|error| StoreError::Move { from: source, to: target, source: error })?;
        if from.0 != to.0 {
            let user = Some(new.owner()?).filter(|_| is_root());
            present(self.item(to.0, to.1).and_then(|dir| adopt(&dir, to.0, user)))?;
            Dir::open(&old, Links::Follow)?.sync()?;
        }
        new.sync()
    }

    fn replace(&self, item: &str) -> Result<(), StoreError> {
        archive::replace(self, item)
    }

    fn claim(&self, item: &str) -> Result<Option<WorkClaim>, StoreError> {
        claim::claim(|| self.locks(), item, self.paths.item(Group::Staging, item)?)
    }

    fn lock_within(&self, patience: Duration) -> Result<Option<WorkClaim>, StoreError> {
        lock::lock_within(&Dir::open(self.base(), Links::Follow)?, lock::STORE, patience)
    }

    fn change_within(&self, patience: Duration) -> Result<Option<WorkClaim>, StoreError> {
        lock::lock_within(&Dir::open(self.base(), Links::Follow)?, lock::CHANGE, patience)
    }

    fn secret(&self) -> &Secret {
        &self.secret
    }
}

/// Whether a JSON document has the member for keys of external accounts.
fn holds_eab_key(json: &[u8]) -> bool {
    json.windows(EAB_KEY.len()).any(|part| part == EAB_KEY)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn links(group: Group) -> Links {
    if group.is_of_server() { Links::Refuse } else { Links::Follow }
}

/// Sets the mode of a group's directory, and its owner if the group is for the server's user.
fn adopt(dir: &Dir, group: Group, user: Option<u32>) -> Result<(), StoreError> {
    dir.set_mode(group.dir_mode())?;
    user.filter(|_| group.is_of_server()).map_or(Ok(()), |user| dir.set_owner(user))
}

fn is_directory(entry: &fs::DirEntry, links: Links) -> bool {
    entry
        .file_type()
        .is_ok_and(|kind| kind.is_dir() || links == Links::Follow && kind.is_symlink() && entry.path().is_dir())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::super::suite;
    use super::*;
    use crate::model::KeySpec;

    const WWW: u32 = 33;

    fn scene() -> (tempfile::TempDir, FileStore) {
        let temp = tempfile::tempdir().unwrap();
        let store = FileStore::open(&temp.path().join("md")).unwrap();
        (temp, store)
    }

    fn mode(store: &FileStore, path: &str) -> u32 {
        fs::metadata(store.base().join(path)).unwrap().mode() & 0o7777
    }

    fn owner(store: &FileStore, path: &str) -> u32 {
        fs::metadata(store.base().join(path)).unwrap().uid()
    }

    fn put(store: &FileStore, group: Group, item: &str) {
        store.save(group, item, &Aspect::MdJson, item.as_bytes()).unwrap();
    }

    #[test]
    fn a_directory_for_another_user_is_never_seen_as_roots() {
        let (temp, _store) = scene();
        let parent = Dir::open(temp.path(), Links::Follow).unwrap();
        if is_root() {
            assert!(parent.make_for(WWW, "a.org", 0o700));
            let found = fs::metadata(temp.path().join("a.org")).unwrap();
            assert_eq!((found.uid(), found.mode() & 0o7777), (WWW, 0o700));
            fs::write(temp.path().join("a.org/kept"), "").unwrap();
        } else {
            fs::create_dir(temp.path().join("a.org")).unwrap();
            fs::write(temp.path().join("a.org/kept"), "").unwrap();
        }
        let user = parent.owner().unwrap();
        assert!(!parent.make_for(user, "a.org", 0o700), "there is one");
        assert!(!parent.make_for(user, &"n".repeat(250), 0o700), "a temporary name would be too long");
        assert!(temp.path().join("a.org/kept").exists());
        let hidden = fs::read_dir(temp.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().as_encoded_bytes()[0] == b'.');
        assert_eq!(hidden.count(), 0);
    }

    #[test]
    fn behaves_as_a_store() {
        suite::run(&scene().1);
    }

    #[test]
    fn a_new_secret_drops_what_the_lost_one_protects() {
        let (temp, store) = scene();
        for group in Group::ALL {
            put(&store, group, "a.org.1");
        }
        put(&store, Group::Staging, "b.org");
        let base = temp.path().join("md");
        let reopen = || FileStore::open(&base).unwrap().list(Group::Staging).unwrap();
        assert_eq!(reopen(), ["a.org.1", "b.org"]);
        fs::remove_file(base.join("md_store.json")).unwrap();
        let claim = store.claim("b.org").unwrap();
        assert_eq!(reopen(), ["b.org"], "somebody works on it");
        drop(claim);
        for group in Group::ALL.into_iter().filter(|group| *group != Group::Staging) {
            assert_eq!(store.list(group).unwrap(), ["a.org.1"], "{group:?}");
        }
    }

    #[test]
    fn many_are_saved_at_once_and_a_failure_is_its_own() {
        let (_temp, store) = scene();
        let names: Vec<String> = (0..AT_ONCE + 10).map(|n| format!("d{n}.org")).collect();
        fs::create_dir_all(store.base().join("domains/d3.org/md.json/in the way")).unwrap();
        let files: Vec<_> = names.iter().map(|name| (name.as_str(), name.clone().into_bytes())).collect();
        let saved = store.save_each(Group::Domains, &Aspect::MdJson, &files);
        let failed: Vec<_> = saved.iter().enumerate().filter(|(_, saved)| saved.is_err()).map(|(n, _)| n).collect();
        assert_eq!((saved.len(), failed), (AT_ONCE + 10, vec![3]));
        for name in names.iter().filter(|name| *name != "d3.org") {
            assert_eq!(store.load(Group::Domains, name, &Aspect::MdJson).unwrap().unwrap(), name.as_bytes());
            assert_eq!(fs::read_dir(store.base().join("domains").join(name)).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_root_writes_to_live_can_be_read_and_replaced_by_the_servers_user() {
        let (_temp, store) = scene();
        store.prepare(Some((WWW, WWW))).unwrap();
        store.save(Group::Live, "a.org", &Aspect::LiveJson, b"{}").unwrap();
        store.bump_generation().unwrap();
        for dir in ["live", "live/a.org"] {
            assert_eq!(mode(&store, dir), 0o755);
            assert!(!is_root() || owner(&store, dir) == WWW, "{dir}");
        }
        for file in ["live/.generation", "live/a.org/live.json"] {
            assert_eq!(mode(&store, file), 0o644);
        }
        assert_eq!(store.list(Group::Live).unwrap(), ["a.org"]);
    }

    #[test]
    fn keys_of_external_accounts_are_for_the_servers_user_only() {
        let (_temp, store) = scene();
        let eab = br#"{"eab":{"kid":"k","hmac":"s"}}"#;
        let files = [
            (Group::Accounts, "ACME-x-0000", Aspect::AccountJson, "accounts/ACME-x-0000/account.json", (0o640, 0, WWW)),
            (Group::Staging, "a.org", Aspect::AccountJson, "staging/a.org/account.json", (0o600, WWW, 0)),
            (Group::Staging, "a.org", Aspect::MdJson, "staging/a.org/md.json", (0o600, WWW, 0)),
        ];
        let access = |path: &str| {
            let metadata = fs::metadata(store.base().join(path)).unwrap();
            (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
        };
        let as_expected =
            |(mode, user, group)| if is_root() { (mode, user, group) } else { (mode, access("").1, access("").2) };
        store.prepare(Some((WWW, WWW))).unwrap();
        for (group, item, aspect, path, expected) in &files {
            store.save(*group, item, aspect, eab).unwrap();
            assert_eq!(access(path), as_expected(*expected), "{path}");
            // As the C module leaves it, whose worker is the server's user.
            let open = fs::Permissions::from_mode(0o644);
            fs::set_permissions(store.base().join(path), open).unwrap();
            store.save(*group, "b.org", aspect, b"{}").unwrap();
        }
        store.prepare(Some((WWW, WWW))).unwrap();
        for (group, _, aspect, path, expected) in files {
            assert_eq!(access(path), as_expected(expected), "{path}");
            assert_eq!(access(&format!("{}/b.org/{}", group.name(), aspect.file_name())).0, 0o644, "{path}");
        }
    }

    #[test]
    fn modes_are_right_whatever_the_umask() {
        for umask in [0o077, 0o000] {
            let umask = rustix::process::umask(umask.into());
            let (_temp, store) = scene();
            store.prepare(None).unwrap();
            let key = Aspect::PrivateKey(KeySpec::Default);
            put(&store, Group::Accounts, "ACME-x-0000");
            put(&store, Group::Tmp, "a.org");
            store.replace("a.org").unwrap();
            store.save(Group::Domains, "a.org", &key, b"").unwrap();
            assert!(store.create(Group::Staging, "a.org", &key, b"").unwrap());
            store.save(Group::Challenges, "a.org", &Aspect::TlsAlpn01Key(KeySpec::Default), b"").unwrap();
            store.save(Group::Challenges, "a.org", &Aspect::Http01, b"").unwrap();
            store.save(Group::Live, "a.org", &Aspect::LiveJson, b"").unwrap();
            let reach = super::super::Reachability { http: false, https: true };
            store.save_facts(&ServerFacts { reach, ..ServerFacts::default() }).unwrap();
            rustix::process::umask(umask);
            let rows = [
                ("", 0o755),
                ("md_store.json", 0o600),
                ("httpd.json", 0o600),
                ("accounts", 0o755),
                ("accounts/ACME-x-0000", 0o755),
                ("accounts/ACME-x-0000/md.json", 0o644),
                ("domains", 0o700),
                ("domains/a.org", 0o700),
                ("domains/a.org/md.json", 0o600),
                ("domains/a.org/privkey.pem", 0o600),
                ("staging", 0o755),
                ("staging/a.org", 0o755),
                ("staging/a.org/privkey.pem", 0o644),
                ("challenges", 0o755),
                ("challenges/a.org/acme-http-01.txt", 0o644),
                ("challenges/a.org/acme-tls-alpn-01-privkey.pem", 0o600),
                ("tmp", 0o700),
                ("ocsp", 0o755),
                ("live", 0o755),
                ("live/a.org", 0o755),
                ("live/a.org/live.json", 0o644),
            ];
            for (path, expected) in rows {
                assert_eq!(mode(&store, path), expected, "{path}");
            }
        }
    }

    #[test]
    fn the_servers_user_gets_the_directories_it_works_in() {
        let (_temp, store) = scene();
        put(&store, Group::Staging, "before.org");
        fs::set_permissions(store.base().join("staging/before.org"), fs::Permissions::from_mode(0o700)).unwrap();
        put(&store, Group::Domains, "a.org");
        store.prepare(Some((WWW, WWW))).unwrap();
        put(&store, Group::Staging, "a.org");
        put(&store, Group::Challenges, "a.org");
        store.rename((Group::Staging, "a.org"), (Group::Staging, "b.org")).unwrap();
        put(&store, Group::Live, "a.org");
        store.rename((Group::Live, "a.org"), (Group::Live, "b.org")).unwrap();
        let claim = store.claim("claimed.org").unwrap().unwrap();
        let me = rustix::process::geteuid().as_raw();
        let server = if is_root() { WWW } else { me };
        let rows = [
            ("staging", server),
            ("staging/before.org", server),
            ("staging/before.org/md.json", me),
            ("staging/b.org", server),
            ("locks", server),
            ("locks/claimed.org", server),
            ("challenges", server),
            ("challenges/a.org", server),
            ("challenges/a.org/md.json", me),
            ("ocsp", server),
            ("live", server),
            ("live/b.org", server),
            ("accounts", me),
            ("domains", me),
            ("domains/a.org", me),
            ("", me),
        ];
        for (path, expected) in rows {
            assert_eq!(owner(&store, path), expected, "{path}");
        }
        assert_eq!(mode(&store, "staging/before.org"), 0o755);
        drop(claim);
    }

    #[test]
    fn stray_entries_are_ignored_and_left_alone() {
        let (_temp, store) = scene();
        put(&store, Group::Domains, "a.org");
        let group = store.base().join("domains");
        for name in [".hidden", "lost+found"] {
            fs::create_dir(group.join(name)).unwrap();
        }
        for name in [".DS_Store", "notes.txt", "b.org"] {
            fs::write(group.join(name), "stray").unwrap();
        }
        assert_eq!(store.list(Group::Domains).unwrap(), ["a.org"]);
        assert_eq!(store.load(Group::Domains, "b.org", &Aspect::MdJson).unwrap(), None);
        assert!(store.save(Group::Domains, "b.org", &Aspect::MdJson, b"").is_err());
        store.prepare(None).unwrap();
        assert_eq!(fs::read_dir(&group).unwrap().count(), 6);
    }

    #[test]
    fn what_a_crash_leaves_is_no_aspect_and_no_item() {
        let (_temp, store) = scene();
        put(&store, Group::Staging, "a.org");
        let left = store.base().join("staging/a.org/job.json.0123456789abcdef.tmp");
        fs::write(&left, "{").unwrap();
        fs::write(store.base().join("staging/b.org.tmp"), "{").unwrap();
        fs::write(store.base().join("md_store.json.0123456789abcdef.tmp"), "{").unwrap();
        let store = FileStore::open(store.base()).unwrap();
        assert_eq!(store.load(Group::Staging, "a.org", &Aspect::JobJson).unwrap(), None);
        assert!(!store.exists(Group::Staging, "a.org", &Aspect::JobJson));
        assert_eq!(store.list(Group::Staging).unwrap(), ["a.org"]);
        store.purge(Group::Staging, "a.org").unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn links_of_the_administrator_are_kept_and_used() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().join("md");
        let target = temp.path().join("elsewhere");
        fs::create_dir_all(target.join("certificates")).unwrap();
        symlink(&target, &base).unwrap();
        symlink(target.join("certificates"), target.join("domains")).unwrap();
        let store = FileStore::open(&base).unwrap();
        store.prepare(Some((WWW, WWW))).unwrap();
        for _ in 0..2 {
            put(&store, Group::Tmp, "a.org");
            store.replace("a.org").unwrap();
        }
        assert!(target.join("certificates/a.org/md.json").is_file());
        assert!(target.join("archive/a.org.1/md.json").is_file());
        assert!(base.is_symlink() && target.join("domains").is_symlink());
        assert_eq!(mode(&store, "domains/"), 0o700);
    }

    #[test]
    fn links_of_the_servers_user_lead_nowhere() {
        let (temp, store) = scene();
        store.prepare(Some((WWW, WWW))).unwrap();
        let victim = temp.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("md.json"), "secret").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o750)).unwrap();
        symlink(&victim, store.base().join("staging/a.org")).unwrap();
        put(&store, Group::Staging, "b.org");
        symlink(victim.join("md.json"), store.base().join("staging/b.org/job.json")).unwrap();
        store.prepare(Some((WWW, WWW))).unwrap();
        assert_eq!(store.list(Group::Staging).unwrap(), ["b.org"]);
        assert_eq!(store.load(Group::Staging, "a.org", &Aspect::MdJson).unwrap(), None);
        assert!(store.save(Group::Staging, "a.org", &Aspect::MdJson, b"").is_err());
        store.purge(Group::Staging, "a.org").unwrap();
        assert!(store.load(Group::Staging, "b.org", &Aspect::JobJson).is_err());
        store.save(Group::Staging, "b.org", &Aspect::JobJson, b"job").unwrap();
        let metadata = fs::metadata(&victim).unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (rustix::process::geteuid().as_raw(), 0o750));
        assert_eq!(fs::read_to_string(victim.join("md.json")).unwrap(), "secret");
    }

    #[test]
    fn no_link_below_a_group_of_the_server_is_looked_at() {
        let (temp, store) = scene();
        store.prepare(Some((WWW, WWW))).unwrap();
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("job.json"), "secret").unwrap();
        symlink(&outside, store.base().join("staging/link.org")).unwrap();
        put(&store, Group::Staging, "a.org");
        symlink(outside.join("job.json"), store.base().join("staging/a.org/job.json")).unwrap();
        symlink(outside.join("job.json"), store.base().join("live/.generation")).unwrap();
        for item in ["link.org", "a.org"] {
            assert!(!store.exists(Group::Staging, item, &Aspect::JobJson), "{item}");
            assert_eq!(store.modified(Group::Staging, item, &Aspect::JobJson), None, "{item}");
            assert_eq!(store.written(Group::Staging, item, &Aspect::JobJson), None, "{item}");
        }
        assert!(store.generation().is_err());
        let mark = store.bump_generation().unwrap();
        assert_eq!(store.generation().unwrap(), Some(mark));
        assert_eq!(fs::read_to_string(outside.join("job.json")).unwrap(), "secret");
    }

    #[test]
    fn a_start_changes_no_mode_of_a_file_that_is_not_the_servers_alone() {
        let (_temp, store) = scene();
        store.prepare(Some((WWW, WWW))).unwrap();
        let mode_after = |link: bool, content: &str, owner: u32| {
            let other = store.base().join("other.json");
            let planted = store.base().join("staging/a.org/md.json");
            store.save(Group::Staging, "a.org", &Aspect::MdJson, b"").unwrap();
            fs::write(&other, content).unwrap();
            fs::set_permissions(&other, fs::Permissions::from_mode(0o640)).unwrap();
            if is_root() {
                std::os::unix::fs::chown(&other, Some(owner), None).unwrap();
            }
            fs::remove_file(&planted).unwrap();
            fs::hard_link(&other, &planted).unwrap();
            if !link {
                fs::remove_file(&other).unwrap();
            }
            store.prepare(Some((WWW, WWW))).unwrap();
            let mode = mode(&store, "staging/a.org/md.json");
            let _ = fs::remove_file(&other);
            mode
        };
        let hmac = r#"{"hmac":"s"}"#;
        let me = rustix::process::geteuid().as_raw();
        for content in ["{}", hmac] {
            assert_eq!(mode_after(true, content, WWW), 0o640, "a hard link: {content}");
            assert!(!is_root() || mode_after(false, content, me) == 0o640, "a file of root: {content}");
            assert!(!is_root() || mode_after(false, content, WWW + 1) == 0o640, "another user's: {content}");
        }
        assert_eq!((mode_after(false, "{}", WWW), mode_after(false, hmac, WWW)), (0o644, 0o600));
        if is_root() {
            let foreign = store.base().join("staging/b.org");
            put(&store, Group::Staging, "b.org");
            fs::set_permissions(&foreign, fs::Permissions::from_mode(0o700)).unwrap();
            std::os::unix::fs::chown(&foreign, Some(WWW + 1), None).unwrap();
            store.prepare(Some((WWW, WWW))).unwrap();
            assert_eq!((mode(&store, "staging/b.org"), owner(&store, "staging/b.org")), (0o700, WWW + 1));
        }
    }

    #[test]
    fn the_owner_of_a_file_counts_only_if_it_has_no_other_name() {
        let (temp, store) = scene();
        let key = Aspect::PrivateKey(KeySpec::Default);
        store.save(Group::Staging, "a.org", &key, b"key").unwrap();
        let file = store.base().join("staging/a.org/privkey.pem");
        let load = || store.load_with_owner(Group::Staging, "a.org", &key).unwrap().unwrap();
        assert_eq!(load(), (b"key".to_vec(), true));
        fs::hard_link(&file, temp.path().join("other")).unwrap();
        assert_eq!(load(), (b"key".to_vec(), false));
        fs::remove_file(temp.path().join("other")).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&file, Some(WWW), None).unwrap();
            assert!(!load().1);
            let child = FileStore { opener: WWW, ..FileStore::read_only(store.base()) };
            assert!(child.load_with_owner(Group::Staging, "a.org", &key).unwrap().unwrap().1, "no server of root's");
        }
    }

    #[test]
    fn a_damaged_header_stops_and_is_kept() {
        let (_temp, store) = scene();
        let file = store.base().join("md_store.json");
        fs::write(&file, "").unwrap();
        let error = FileStore::open(store.base()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(&format!("{} is damaged", file.display())), "{error}");
        assert_eq!(fs::read(&file).unwrap(), b"");
    }

    #[test]
    fn two_that_open_a_new_store_share_its_secret() {
        let temp = tempfile::tempdir().unwrap();
        let open = || FileStore::open(&temp.path().join("new/md")).unwrap().secret().as_bytes().to_vec();
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let threads = [0; 4].map(|_| scope.spawn(open));
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    }
}
