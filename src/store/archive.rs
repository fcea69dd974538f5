//! Replaces the set of a domain: the names of former sets, which of them are kept, and how a failure or a crash half-way is
//! undone.

use std::fs;
use std::io;
use std::time::SystemTime;

use super::dir::present;
use super::{Aspect, FileStore, Group, Store, StoreError};
use crate::log::{note, report};

/// The number of former sets of a domain that are kept.
pub(super) const KEPT: usize = 50;

/// The number of free numbers in a row that ends the search: a new set takes the first free number.
const GAP: u16 = 200;

/// The highest number of a set.
const LAST: u16 = 999;

/// Returns the names for a former set of `item`, in the order in which they are tried.
pub(super) fn names(item: &str) -> impl Iterator<Item = String> + '_ {
    (1..=LAST).map(move |number| format!("{item}.{number}"))
}

/// Returns the number of a set of `item`; `None` for the sets of other items.
pub(super) fn number(item: &str, name: &str) -> Option<u16> {
    let digits = name.strip_prefix(item)?.strip_prefix('.')?;
    let number = digits.parse().ok().filter(|number| (1..=LAST).contains(number))?;
    (digits == number.to_string()).then_some(number)
}

/// Makes the set in tmp the served one. See [`Store::replace`].
pub(super) fn replace(store: &FileStore, item: &str) -> Result<(), StoreError> {
    let new = (Group::Tmp, item);
    let place = (Group::Domains, item);
    if present(store.item(new.0, item))?.is_none() || !is_present(store, place)? {
        return store.rename(new, place);
    }
    let archived = retire(store, item)?;
    bring_in(store, item, &archived)?;
    if let Err(error) = prune(store, item) {
        report!(MD0028, error.status(); "{item}: old certificates cannot be removed from the archive: {error}");
    }
    Ok(())
}

/// Undoes a [`replace`] that a crash has interrupted: a new set is in tmp, the former one in the archive, and none is served.
/// The former one comes back, as the new one can be made again. A failure concerns one domain only.
pub(super) fn recover(store: &FileStore) {
    for item in store.list(Group::Tmp).unwrap_or_default() {
        if let Err(error) = put_back(store, &item) {
            note!(Error, error.status(); "{item}: the former certificates could not be put back: {error}");
        }
    }
}

fn put_back(store: &FileStore, item: &str) -> Result<(), StoreError> {
    // The C module leaves a job.json in tmp, beside domains that an administrator may have removed for good.
    let is_interrupted = || -> Result<bool, StoreError> {
        Ok(store.exists(Group::Tmp, item, &Aspect::MdJson) && !is_present(store, (Group::Domains, item))?)
    };
    if !is_interrupted()? {
        return Ok(());
    }
    let Some(_claim) = store.claim(item)? else { return Ok(()) };
    // Another start may have done it meanwhile.
    let Some(former) = sets(store, item)?.into_iter().next().filter(|_| is_interrupted().unwrap_or(false)) else {
        return Ok(());
    };
    store.rename((Group::Archive, &former), (Group::Domains, item))?;
    store.purge(Group::Tmp, item)?;
    note!(Notice, "{item}: activation was interrupted, the former certificates are back in place");
    Ok(())
}

/// Moves the served set into the archive and returns its new name.
fn retire(store: &FileStore, item: &str) -> Result<String, StoreError> {
    // The oldest sets go first: the time of the directory is that of its archiving, also after a restored backup.
    if let Some(dir) = present(store.item(Group::Domains, item))? {
        let _ = dir.handle().set_modified(SystemTime::now());
    }
    for name in names(item) {
        if !is_present(store, (Group::Archive, &name))? {
            return store.rename((Group::Domains, item), (Group::Archive, &name)).map(|()| name);
        }
    }
    Err(StoreError::ArchiveFull(item.to_owned()))
}

/// Puts the new set in place of the archived one, or that one back.
fn bring_in(store: &FileStore, item: &str, archived: &str) -> Result<(), StoreError> {
    let place = (Group::Domains, item);
    store.rename((Group::Tmp, item), place).inspect_err(|_| {
        if let Err(error) = store.rename((Group::Archive, archived), place) {
            note!(Error, error.status(); "{item}: the former certificates could not be put back: {error}");
        }
    })
}

fn prune(store: &FileStore, item: &str) -> Result<(), StoreError> {
    sets(store, item)?.iter().skip(KEPT).try_for_each(|name| store.purge(Group::Archive, name))
}

/// Returns the former sets of a domain, newest first. The names are tried, as the archive holds the sets of all domains.
fn sets(store: &FileStore, item: &str) -> Result<Vec<String>, StoreError> {
    let mut sets = Vec::new();
    let mut missing = 0;
    for name in names(item) {
        let path = store.paths.item(Group::Archive, &name)?;
        match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Ok(modified) => {
                sets.push((modified, number(item, &name), name));
                missing = 0;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing += 1,
            Err(error) => return Err(StoreError::io("examine", path, error)),
        }
        if missing > GAP {
            break;
        }
    }
    sets.sort();
    Ok(sets.into_iter().rev().map(|(_, _, name)| name).collect())
}

/// Whether an entry of this name exists, even if it is not an item.
fn is_present(store: &FileStore, (group, item): (Group, &str)) -> Result<bool, StoreError> {
    Ok(fs::symlink_metadata(store.paths.item(group, item)?).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;

    fn scene() -> (tempfile::TempDir, FileStore) {
        let temp = tempfile::tempdir().unwrap();
        let store = FileStore::open(temp.path()).unwrap();
        (temp, store)
    }

    fn put(store: &FileStore, group: Group, item: &str) {
        store.save(group, item, &Aspect::MdJson, item.as_bytes()).unwrap();
    }

    #[test]
    fn sets_of_other_domains_are_told_apart() {
        let rows = [
            ("a.org.1", Some(1)),
            ("a.org.999", Some(999)),
            ("a.org.1000", None),
            ("a.org.0", None),
            ("a.org.01", None),
            ("a.org.+1", None),
            ("a.org.1.1", None),
            ("a.org", None),
            ("b.a.org.1", None),
        ];
        for (name, expected) in rows {
            assert_eq!(number("a.org", name), expected, "{name}");
        }
        assert_eq!(names("a.org").count(), 999);
    }

    #[test]
    fn the_former_set_comes_back_if_the_new_one_cannot_be_moved() {
        let (_temp, store) = scene();
        put(&store, Group::Domains, "a.org");
        let archived = retire(&store, "a.org").unwrap();
        assert_eq!((archived.as_str(), store.list(Group::Domains).unwrap().len()), ("a.org.1", 0));
        assert_eq!(bring_in(&store, "a.org", &archived).unwrap_err().status(), Status::NOT_FOUND);
        assert!(store.exists(Group::Domains, "a.org", &Aspect::MdJson));
        assert!(store.list(Group::Archive).unwrap().is_empty());
    }

    #[test]
    fn a_start_after_a_crash_while_replacing_finds_the_former_set() {
        let (_temp, store) = scene();
        for item in ["a.org", "deleted.org"] {
            put(&store, Group::Domains, item);
            retire(&store, item).unwrap();
        }
        put(&store, Group::Tmp, "a.org");
        store.save(Group::Tmp, "deleted.org", &Aspect::JobJson, b"left by the C module").unwrap();
        put(&store, Group::Tmp, "first.org");
        store.prepare(None).unwrap();
        assert_eq!(store.list(Group::Domains).unwrap(), ["a.org"]);
        assert_eq!(store.list(Group::Archive).unwrap(), ["deleted.org.1"]);
        assert_eq!(store.list(Group::Tmp).unwrap(), ["deleted.org", "first.org"]);
    }

    #[test]
    fn a_full_archive_is_an_error_and_changes_nothing() {
        let (_temp, store) = scene();
        put(&store, Group::Domains, "a.org");
        put(&store, Group::Tmp, "a.org");
        for name in names("a.org") {
            fs::create_dir_all(store.base().join("archive").join(name)).unwrap();
        }
        let error = store.replace("a.org").unwrap_err();
        assert!(matches!(&error, StoreError::ArchiveFull(name) if name == "a.org"), "{error}");
        assert!(store.exists(Group::Domains, "a.org", &Aspect::MdJson));
        assert!(store.exists(Group::Tmp, "a.org", &Aspect::MdJson));
    }
}
