//! The mark that changes with every set that goes live, whoever writes it: one look at one file tells whether there is
//! anything to look for.
//!
//! It is a number that nobody draws twice, not a time: clocks of two machines differ, and some file systems know seconds only.

use super::StoreError;
use super::dir::{Dir, unique};

/// Names with a leading dot are no items.
const NAME: &str = ".generation";

/// The mark in the directory of the group; `None` if there is none.
pub(super) fn read(group: &Dir) -> Result<Option<Vec<u8>>, StoreError> {
    group.read(NAME)
}

/// Makes it another one. Readers see the old one or the new.
pub(super) fn bump(group: &Dir, mode: u32) -> Result<Vec<u8>, StoreError> {
    let mark = unique().map_err(|error| StoreError::io("write", group.path().join(NAME), error))?;
    let mark = format!("{mark:016x}\n").into_bytes();
    group.write(NAME, mode, &mark)?;
    Ok(mark)
}
