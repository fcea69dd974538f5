//! Answers to challenges: the key authorization, and the values computed from it (RFC 8555 section 8).

use super::Malformed;
use crate::crypto::{CryptoError, PrivateKey, base64url, sha256, thumbprint};

/// Checks a token: at least 128 bits in base64url (RFC 8555 section 8.1). It becomes part of a file and of a URL.
///
/// # Errors
/// If it is anything else.
pub fn check_token(token: &str) -> Result<(), Malformed> {
    let is_base64url = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_base64url && (22..=256).contains(&token.len()) { Ok(()) } else { Err(Malformed::Token) }
}

/// The text that proves that the holder of the account key was asked: `token.thumbprint` (RFC 8555 section 8.1).
///
/// # Errors
/// If the account key is of a kind that has no thumbprint.
pub fn key_authorization(token: &str, account_key: &PrivateKey) -> Result<String, CryptoError> {
    Ok(format!("{token}.{}", thumbprint(account_key)?))
}

/// The value of the TXT record for dns-01 (RFC 8555 section 8.4).
///
/// # Errors
/// If there is no SHA-256 to be had.
pub fn txt_value(key_authorization: &str) -> Result<String, CryptoError> {
    Ok(base64url(&sha256(key_authorization.as_bytes())?))
}

/// Whether a text has the form of a TXT record for dns-01.
#[must_use]
pub fn is_txt_value(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_base64url_of_22_to_256_characters() {
        let long = "x".repeat(256);
        let too_long = "x".repeat(257);
        let rows = [
            ("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA", true),
            ("DGyRejmCefe7v4NfDGDKfA", true),
            ("abcdefghijklmnopqrst_-", true),
            (&long, true),
            (&too_long, false),
            ("abcdefghijklmnopqrstu", false),
            ("abcdefghijklmnopqrstuv==", false),
            ("../../../../../etc/passwd", false),
            ("abcdefghijklmnopqrstuv\n", false),
            ("", false),
        ];
        for (token, expected) in rows {
            assert_eq!(check_token(token).is_ok(), expected, "{token:?}");
        }
    }

    #[test]
    fn value_of_the_record_is_the_digest() {
        // The token of RFC 8555 section 8.4 with the thumbprint of RFC 7638 section 3.1.
        let sample = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert_eq!(txt_value(sample).unwrap(), "ZTRx1Ckl1-tM05o5zaizTTA0yUy5AGereMgSNWC6Ll8");
        assert!(is_txt_value(&txt_value(sample).unwrap()));
        for other in
            ["", "--evil", "ZTRx1Ckl1-tM05o5zaizTTA0yUy5AGereMgSNWC6Ll8=", &" ".repeat(43), &"é".repeat(22)[..42]]
        {
            assert!(!is_txt_value(other), "{other}");
        }
    }
}
