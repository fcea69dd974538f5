//! The TXT records for dns-persist-01 that an account needs, from the directory of its CA.

use super::challenge::{PersistRecord, account_uri, hashed_uri, names_to_prove};
use super::{AcmeError, Directory};
use crate::crypto::PrivateKey;
use crate::model::{Identifier, Timestamp};

/// Returns the records of which a domain needs one for each name; of several with the same name any will do. Empty if the
/// CA does not give its names. `account` is the account's URL and key.
///
/// If no record can hold the account URI.
/// If no record can name the account.
pub(crate) fn persist_records(
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

/// Returns the URI of an account in the records of a name: the account's URL, hashed where the CA wants that.
///
/// # Errors
/// If no record can hold the URI.
pub(crate) fn uri_of(ca: &Directory, domain: &str, (url, key): (&str, &PrivateKey)) -> Result<String, AcmeError> {
    let uri = match &ca.meta.account_hash_prefix {
        Some(prefix) => hashed_uri(prefix, domain, key, url)?,
        None => url.to_owned(),
    };
    Ok(account_uri(&uri)?)
}
