//! Errors of the store, in words for the administrator and as result codes.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::Status;

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused the operation.
    #[error("cannot {action} {}: {}", path.display(), reason(source))]
    Io {
        /// The operation, e.g. `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A directory could not be moved.
    #[error("cannot move {} to {}: {}", from.display(), to.display(), reason(source))]
    Move {
        /// The directory.
        from: PathBuf,
        /// The new place of the directory.
        to: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A directory cannot be given to the server's user.
    #[error(
        "cannot give {} to user {user}: {}; start httpd with the capability CAP_CHOWN, or not as root",
        path.display(),
        reason(source)
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// The user's id.
        user: u32,
        /// The system's error.
        source: io::Error,
    },
    /// The name would lead out of the store or be hidden in it.
    #[error("'{}' cannot be a name in the store", .0.escape_default())]
    Name(String),
    /// All numbers of the archive are taken.
    #[error("all archive names from {0}.1 to {0}.999 are in use: remove old ones from the directory 'archive'")]
    ArchiveFull(String),
    /// `md_store.json` cannot be understood, so the keys that it protects cannot be read.
    #[error(
        "{} is damaged ({why}): restore it from a backup, or move {} away to start anew; accounts and staged keys are \
         lost then", path.display(), directory(path)
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        why: &'static str,
    },
    /// The store was written by a later release.
    #[error(
        "{} has version {version:?}, newer than the {known:?} known here: use the release that wrote it, restore a \
         backup, or move {} away to start anew; accounts and staged keys are lost then", path.display(), directory(path)
    )]
    Newer {
        /// The file that gives the version.
        path: PathBuf,
        /// The version in the file.
        version: f64,
        /// The latest version that can be read.
        known: f64,
    },
}

impl StoreError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.into(), source: source.into() }
    }

    /// Returns the result code for job.json and the log: the system's if there is one.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Io { source, .. } | Self::Move { source, .. } | Self::Owner { source, .. } => Status::from(source),
            Self::Name(_) | Self::Damaged { .. } | Self::Newer { .. } => Status::INVALID,
            Self::ArchiveFull(_) => Status::EXISTS,
        }
    }

    /// Whether the file is absent; a path through a plain file counts as that, too.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
    }
}

/// Returns the system's message, without the number that Rust appends: the log line has it already.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}

fn directory(file: &Path) -> std::path::Display<'_> {
    file.parent().unwrap_or(file).display()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_failed_where_and_why() {
        let error = StoreError::io("write", "/md/domains/a/privkey.pem", io::Error::from_raw_os_error(28));
        assert_eq!(error.to_string(), "cannot write /md/domains/a/privkey.pem: No space left on device");
        assert_eq!(error.status(), Status(28));
    }

    #[test]
    fn says_what_to_do_about_a_damaged_store() {
        let error = StoreError::Damaged { path: "/srv/md/md_store.json".into(), why: "it is not JSON" };
        let text = error.to_string();
        assert!(text.starts_with("/srv/md/md_store.json is damaged (it is not JSON): restore it"), "{text}");
        assert!(text.contains("move /srv/md away"), "{text}");
    }
}
