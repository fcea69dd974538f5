//! Keys, requests, certificates and signed messages: the only part that names the crypto library.
#![forbid(unsafe_code)]

mod alpn;
mod certificate;
mod chain;
mod csr;
mod jwk;
mod jws;
mod key;
mod key_match;
mod ocsp;
pub(crate) mod sct;
mod sealed;
mod self_signed;
mod summary;
#[cfg(test)]
pub(crate) mod test_ca;
#[cfg(test)]
pub(crate) mod test_ocsp;
mod tls_pair;

pub use alpn::alpn_certificate;
pub use certificate::Certificate;
pub use chain::{Chain, ChainError};
pub use csr::csr_der;
pub use jwk::{JwkError, account_key};
pub use jws::{KeyRef, base64url, base64url_decode, jwk, sign_eab, sign_jws, sign_key_change, thumbprint};
pub use key::PrivateKey;
pub use key_match::key_fits;
pub use ocsp::{OcspAnswer, OcspError, OcspIssuer, Revocation, ocsp_request, read_ocsp_response};
pub use sct::Sct;
pub use self_signed::self_signed;
pub use summary::Summary;
pub use tls_pair::{TlsPair, TlsPointers};

/// Why a key, a request or a signature could not be made or read. Never tells a secret.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// OpenSSL has no curve of this name.
    #[error("the curve '{0}' is not known to OpenSSL")]
    UnknownCurve(String),
    /// The key is of a type that cannot do this.
    #[error("a key of type {key} cannot {task}")]
    Unsuitable {
        /// Type of the key.
        key: String,
        /// What was asked of it.
        task: &'static str,
    },
    /// The text is no private key, or its pass phrase is another one.
    #[error("the private key cannot be read: {0}")]
    DamagedKey(openssl::error::ErrorStack),
    /// The private key needs a pass phrase and none was given.
    #[error("the private key is encrypted and there is no pass phrase for it")]
    PassPhraseMissing,
    /// The bytes are no certificate.
    #[error("the certificate cannot be read: {0}")]
    DamagedCertificate(String),
    /// OpenSSL failed at something that normally works.
    #[error("OpenSSL: {0}")]
    Library(#[from] openssl::error::ErrorStack),
}

/// Bytes that nobody can guess.
///
/// # Errors
/// If the system has no randomness to give.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(bytes)
}

/// In 0..1; a half if there is no randomness to be had.
#[must_use]
pub fn random_fraction() -> f64 {
    random_bytes::<4>().map_or(0.5, |bytes| f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0))
}

/// The SHA-256 digest.
///
/// # Errors
/// If OpenSSL has it switched off.
pub fn sha256(bytes: &[u8]) -> Result<[u8; 32], CryptoError> {
    let digest = openssl::hash::hash(openssl::hash::MessageDigest::sha256(), bytes)?;
    Ok(std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default()))
}

fn hex(bytes: &[u8], upper: bool) -> String {
    let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from(digits[usize::from(digit)])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random_bytes::<20>().unwrap(), random_bytes::<20>().unwrap());
    }

    #[test]
    fn hex_has_two_digits_per_byte() {
        assert_eq!(hex(&[0, 0x0a, 0xff], true), "000AFF");
        assert_eq!(hex(&[0, 0x0a, 0xff], false), "000aff");
    }
}
