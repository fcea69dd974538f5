//! Codes that show who wrote a document: whoever has the secret did.

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use super::CryptoError;

/// Computes a code for these parts by HMAC-SHA256 (RFC 2104), under a key that is derived from the secret for one purpose only.
///
/// # Errors
/// Those of OpenSSL.
pub fn authentication_code(secret: &[u8], purpose: &str, parts: &[&[u8]]) -> Result<[u8; 32], CryptoError> {
    let key = hmac(secret, &[purpose.as_bytes()])?;
    hmac(&key, parts)
}

/// Compares two codes in a time that does not tell where they differ.
#[must_use]
pub fn is_same_code(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && openssl::memcmp::eq(one, other)
}

/// Each part has its length in front, so that a part cannot begin in another.
fn hmac(key: &[u8], parts: &[&[u8]]) -> Result<[u8; 32], CryptoError> {
    let key = PKey::hmac(key)?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    for part in parts {
        signer.update(&(part.len() as u64).to_be_bytes())?;
        signer.update(part)?;
    }
    let mut code = [0; 32];
    signer.sign(&mut code)?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_of_one_secret_one_purpose_and_these_parts_in_this_order() {
        let code = |secret: &[u8], purpose, parts: &[&[u8]]| authentication_code(secret, purpose, parts).unwrap();
        let expected = code(b"secret", "purpose", &[b"ab", b"c"]);
        assert!(is_same_code(&expected, &code(b"secret", "purpose", &[b"ab", b"c"])));
        let others = [
            code(b"other", "purpose", &[b"ab", b"c"]),
            code(b"secret", "another", &[b"ab", b"c"]),
            code(b"secret", "purpose", &[b"a", b"bc"]),
            code(b"secret", "purpose", &[b"c", b"ab"]),
            code(b"secret", "purpose", &[b"ab", b"c", b""]),
            code(b"secret", "purpose", &[]),
        ];
        assert!(others.iter().all(|other| !is_same_code(&expected, other)));
        assert!(!is_same_code(&expected, &expected[..31]) && !is_same_code(&expected, b""));
    }
}
