//! Keys, requests, certificates and signed messages: the only layer that uses the crypto library.
#![forbid(unsafe_code)]

mod alpn;
mod base64;
mod certificate;
mod chain;
mod csr;
mod der;
mod error;
mod gcm;
mod jwk;
mod jws;
mod key;
mod key_match;
mod mac;
mod ocsp;
mod pem;
pub(crate) mod sct;
mod sealed;
mod self_signed;
mod summary;
mod tls_client;
mod tls_pair;

pub use alpn::{AlpnAnswer, alpn_certificate, ask_alpn};
pub use base64::{base64url, base64url_decode};
pub use certificate::Certificate;
pub use chain::{Chain, Issuers};
pub use csr::csr_der;
pub use error::{ChainError, CryptoError};
pub use gcm::{gcm_open, gcm_seal};
pub use jwk::{JwkError, account_key};
pub use jws::{KeyRef, jwk, sign_eab, sign_jws, sign_key_change, thumbprint};
pub use key::PrivateKey;
pub use key_match::key_fits;
pub use mac::{authentication_code, is_same_code};
pub use ocsp::{OcspAnswer, OcspError, OcspIssuer, Revocation, ocsp_request, read_ocsp_response};
pub use sct::Sct;
pub use self_signed::{issuer_of_self_signed, self_signed};
pub use summary::Summary;
pub use tls_client::{Stream, TlsClient};
pub use tls_pair::{TlsPair, TlsPointers};

use openssl::asn1::Asn1Object;
use openssl::nid::Nid;

/// Draws random bytes for keys and secrets.
///
/// # Errors
/// If the system has no randomness to give.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(bytes)
}

/// Draws a number in 0..1; a half if the system has no randomness to give.
#[must_use]
pub fn random_fraction() -> f64 {
    random_bytes::<4>().map_or(0.5, |bytes| f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0))
}

/// Returns the SHA-256 digest.
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

fn object(name: &str) -> Option<Nid> {
    // The crate panics at a NUL byte.
    if name.contains('\0') {
        return None;
    }
    Asn1Object::from_str(name).ok().map(|object| object.nid()).filter(|nid| *nid != Nid::UNDEF)
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
