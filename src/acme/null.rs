//! JSON `null` from servers.

use serde::{Deserialize, Deserializer};

/// Reads what a server may give as `null` where it means nothing: some write empty lists like that.
pub(super) fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
