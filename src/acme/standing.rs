//! Whether a CA still has an account. Only what the CA says of the account itself ends its use: a second account has another URL,
//! which CAA records and records for dns-persist-01 do not name, and a CA may not let a second one use the external account.

use serde_json::json;

use super::session::{json, location};
use super::{Account, AccountBook, AccountRecord, AccountStatus, AcmeError, Directory, Session};
use crate::crypto::{KeyRef, PrivateKey};
use crate::http::{RequestKind, Response};
use crate::log::{note, report};

/// Reads an account (RFC 8555 section 7.3.1). Where the CA refuses that without naming the state of the account, the account
/// is looked up by its key, which may tell the state.
///
/// # Errors
/// If the CA refuses, for any reason: see [`AcmeError::is_account_lost`].
pub(crate) fn read_account(
    session: &mut Session,
    ca: &Directory,
    url: &str,
    key: &PrivateKey,
) -> Result<Response, AcmeError> {
    let refused = match session.about(RequestKind::Account).read(ca, url, key, url) {
        Err(err) if err.is("unauthorized") && !err.is_account_lost() => err,
        result => return result,
    };
    let lookup = json!({ "onlyReturnExisting": true });
    match session.post(ca, &ca.new_account, key, KeyRef::Jwk, &lookup) {
        Ok(found) if location(ca, url, &found).is_ok_and(|at| at == url) && !is_valid(&found) => Ok(found),
        Err(err) if err.is("unauthorized") && err.is_account_lost() => Err(err),
        Err(AcmeError::BadNonce) => Err(AcmeError::BadNonce),
        _ => Err(refused),
    }
}

fn is_valid(found: &Response) -> bool {
    json::<Account>("", found).map_or(true, |account| account.is_valid())
}

/// Asks the CA about an account of the book, by `read` with each key that the account may have. Returns the account with the key
/// that the CA accepts, or `None` if the CA does not have the account any more: the book has given it up then.
///
/// # Errors
/// If the CA refuses the account for any other reason, or cannot be asked. The account is kept.
pub(crate) fn confirm(
    book: &dyn AccountBook,
    account: AccountRecord,
    key: PrivateKey,
    mut read: impl FnMut(&str, &PrivateKey) -> Result<Option<AccountStatus>, AcmeError>,
) -> Result<Option<(AccountRecord, PrivateKey)>, AcmeError> {
    let mut refused = match refusal(read(&account.url, &key))? {
        None => return Ok(Some((account, key))),
        Some(refused) => refused,
    };
    for other in book.other_keys(&account, &key) {
        match refusal(read(&account.url, &other))? {
            None => {
                report!(MD0047, "the key of account {} was changed; the new one is used from now on", account.url);
                book.change_key(&account, &other);
                return Ok(Some((account, other)));
            }
            Some(Refusal::Lost(why)) => refused = Refusal::Lost(why),
            Some(Refusal::Unclear(_)) => {}
        }
    }
    match refused {
        Refusal::Lost(why) => {
            note!(Info, "account {} is given up: {why}", account.url);
            book.forget(&account, &why)?;
            Ok(None)
        }
        Refusal::Unclear(why) => Err(AcmeError::AccountRefused { url: account.url, why: Box::new(why) }),
    }
}

/// Why the CA does not take requests of an account with a key.
enum Refusal {
    /// The CA does not have the account any more.
    Lost(String),
    /// The key may be wrong, or the CA at fault.
    Unclear(AcmeError),
}

/// Sorts the answer of the CA; `None` if the CA takes account and key.
///
/// # Errors
/// If the answer is not about the account.
fn refusal(read: Result<Option<AccountStatus>, AcmeError>) -> Result<Option<Refusal>, AcmeError> {
    match read {
        Ok(None | Some(AccountStatus::Valid)) => Ok(None),
        Ok(Some(status)) => Ok(Some(Refusal::Lost(format!("the CA says that it is {status}")))),
        Err(err) if err.is_account_lost() => Ok(Some(Refusal::Lost(format!("the CA says '{err}'")))),
        Err(err) if err.is_gone() => Ok(Some(Refusal::Unclear(err))),
        Err(err) => Err(err),
    }
}
