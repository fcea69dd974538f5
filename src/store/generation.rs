//! The mark that changes with every set that goes live, whoever writes it: reading one file tells whether there are new sets.
//!
//! The mark is a random number, not a time: clocks of two machines differ, and some file systems know seconds only.

use super::StoreError;
use super::dir::{Dir, unique};

/// The name of the file. Names with a leading dot are not items.
const NAME: &str = ".generation";

/// Returns the mark in the directory of the group; `None` if there is none.
pub(super) fn read(group: &Dir) -> Result<Option<Vec<u8>>, StoreError> {
    group.read(NAME)
}

/// Draws a new mark. Readers see the old one or the new; any other, such as what a power failure leaves, has them look as well.
pub(super) fn bump(group: &Dir, mode: u32) -> Result<Vec<u8>, StoreError> {
    let mark = unique().map_err(|error| StoreError::io("write", group.path().join(NAME), error))?;
    let mark = format!("{mark:016x}\n").into_bytes();
    group.write_lazily(NAME, mode, &mark)?;
    Ok(mark)
}
