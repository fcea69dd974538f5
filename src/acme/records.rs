//! The records for dns-persist-01 that an account needs, from what the directory of its CA says.

use super::challenge::{PersistRecord, account_uri, hashed_uri, names_to_prove};
use super::{AcmeError, Directory};
use crate::crypto::PrivateKey;
use crate::model::{Identifier, Timestamp};

/// The records of which a domain needs one for each name: of those with the same name any will do. There are none if the
/// CA does not tell its names. `account` is its URL and its key.
///
/// # Errors
/// If no record can name the account.
pub(super) fn persist_records(
    ca: &Directory,
    account: (&str, &PrivateKey),
    identifiers: &[Identifier],
    until: Option<Timestamp>,
) -> Result<Vec<PersistRecord>, AcmeError> {
    let mut records = Vec::new();
    for (domain, wildcard) in names_to_prove(identifiers) {
        let account_uri = uri_of(ca, &domain, account)?;
        records.extend(ca.issuers().iter().map(|issuer| PersistRecord {
            domain: domain.clone(),
            issuer: issuer.clone(),
            account_uri: account_uri.clone(),
            wildcard,
            until,
        }));
    }
    Ok(records)
}

/// What stands for the account in the records of a name: its URL, hashed where the CA wants that.
///
/// # Errors
/// If no record can have that.
pub(super) fn uri_of(ca: &Directory, domain: &str, (url, key): (&str, &PrivateKey)) -> Result<String, AcmeError> {
    let uri = match &ca.meta.account_hash_prefix {
        Some(prefix) => hashed_uri(prefix, domain, key, url)?,
        None => url.to_owned(),
    };
    Ok(account_uri(&uri)?)
}
