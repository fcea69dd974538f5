//! Files of the administrator outside of the store: certificates and keys that are served from where they are.

use std::path::Path;
use std::{fs, io};

use super::StoreError;

/// Reads such a file; `None` if it is absent.
///
/// # Errors
/// If it cannot be read.
pub fn read_foreign(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io { action: "read", path: path.to_owned(), source }),
    }
}
