//! JSON `null` from servers.

use serde::{Deserialize, Deserializer};

/// Reads what a server may give as `null` where it means nothing: some write empty lists like that.
pub(super) fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Reads a list of which the server may give the elements, or the list itself, as `null`: some write an empty contact like that.
pub(super) fn without_nothings<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(or_nothing::<D, Vec<Option<T>>>(from)?.into_iter().flatten().collect())
}
