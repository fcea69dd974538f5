//! The data of http-01 (RFC 8555 sections 8.1 and 8.3).

use crate::crypto::{CryptoError, PrivateKey, thumbprint};

/// The text that proves that the holder of the account key was asked: `token.thumbprint` (RFC 8555 section 8.1).
///
/// # Errors
/// If the account key is of a kind that has no thumbprint.
pub fn key_authorization(token: &str, account_key: &PrivateKey) -> Result<String, CryptoError> {
    Ok(format!("{token}.{}", thumbprint(account_key)?))
}
