//! Removes a directory with all that is in it. The server's user may have put anything there: links are not followed, and both depth and
//! number of entries have a limit.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

/// The most directories in each other that are removed. The store makes none below an item.
const DEEPEST: usize = 16;

/// The most entries that one call removes: about a tenth of a second's work.
const MOST: usize = 10_000;

/// Removes an entry of a directory, with all that is in it; an absent one is fine.
pub(super) fn remove(parent: &File, name: &str) -> io::Result<()> {
    Removal { left: MOST }.entry(parent, &CString::new(name)?, 0)
}

struct Removal {
    left: usize,
}

impl Removal {
    fn entry(&mut self, parent: &File, name: &CStr, depth: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other("it has too many entries for one time"))?;
        match unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Linux says the first of a directory, POSIX the second.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        if depth == DEEPEST {
            return Err(io::Error::other("it has too many directories in each other"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = File::from(openat(parent, name, flags, Mode::empty())?);
        self.content(&dir, depth)?;
        match unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOENT) => Ok(()),
            result => Ok(result?),
        }
    }

    fn content(&mut self, dir: &File, depth: usize) -> io::Result<()> {
        for entry in rustix::fs::Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if ![&b"."[..], b".."].contains(&name.to_bytes()) {
                self.entry(dir, name, depth + 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn removed(dir: &Path) -> Result<(), String> {
        remove(&File::open(dir).unwrap(), "item").map_err(|error| error.to_string())
    }

    #[test]
    fn links_are_removed_and_not_what_they_lead_to() {
        let temp = tempfile::tempdir().unwrap();
        let item = temp.path().join("item");
        fs::create_dir_all(item.join("a/b")).unwrap();
        fs::create_dir(temp.path().join("kept")).unwrap();
        fs::write(temp.path().join("kept/file"), "").unwrap();
        symlink(temp.path().join("kept"), item.join("a/link")).unwrap();
        fs::hard_link(temp.path().join("kept/file"), item.join("a/b/hard")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, item.join("pipe"), Mode::RWXU).unwrap();
        assert_eq!((removed(temp.path()), item.exists()), (Ok(()), false));
        symlink(temp.path().join("kept"), &item).unwrap();
        assert_eq!((removed(temp.path()), item.is_symlink()), (Ok(()), false));
        assert_eq!(removed(temp.path()), Ok(()), "an absent one");
        assert!(temp.path().join("kept/file").is_file());
    }

    #[test]
    fn depth_and_number_have_a_limit() {
        let temp = tempfile::tempdir().unwrap();
        let item = temp.path().join("item");
        let nested = |depth| (0..depth).fold(item.clone(), |path, _| path.join("d"));
        fs::create_dir_all(nested(DEEPEST + 1)).unwrap();
        assert_eq!(removed(temp.path()), Err("it has too many directories in each other".to_owned()));
        fs::remove_dir(nested(DEEPEST + 1)).unwrap();
        fs::remove_dir(nested(DEEPEST)).unwrap();
        assert_eq!(removed(temp.path()), Ok(()));
        fs::create_dir(&item).unwrap();
        for number in 0..MOST + 5 {
            File::create(item.join(number.to_string())).unwrap();
        }
        assert_eq!(removed(temp.path()), Err("it has too many entries for one time".to_owned()));
        assert!(fs::read_dir(&item).unwrap().count() < 10);
        assert_eq!((removed(temp.path()), item.exists()), (Ok(()), false));
    }
}
