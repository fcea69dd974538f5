//! The part of a certificate that is kept after parsing: small, as a server keeps thousands.

use std::sync::Arc;

use openssl::hash::{MessageDigest, hash};

use super::{base64url, hex};
use crate::model::Timestamp;

/// The facts about a certificate that status pages and logs report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    issuer: Arc<Issuer>,
    from: Timestamp,
    until: Timestamp,
    /// Content octets of the INTEGER.
    serial: Box<[u8]>,
    sha256: [u8; 32],
}

/// The parts that certificates of one issuer have in common.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Issuer {
    pub(super) name: String,
    pub(super) uri: Option<String>,
    pub(super) key_id: Option<Vec<u8>>,
}

impl Summary {
    pub(super) fn new(issuer: Issuer, (from, until): (Timestamp, Timestamp), serial: &[u8], der: &[u8]) -> Self {
        // Only a library that is configured to refuse the digest fails here; the fingerprint then matches nothing.
        let digest = hash(MessageDigest::sha256(), der).ok();
        let sha256 = digest.and_then(|digest| digest.as_ref().try_into().ok()).unwrap_or_default();
        Self { issuer: Arc::new(issuer), from, until, serial: serial.into(), sha256 }
    }

    /// The validity: from, until.
    #[must_use]
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        (self.from, self.until)
    }

    /// The issuer on one line, e.g. `/C=US/O=Example/CN=R3`, as `X509_NAME_oneline` writes it.
    #[must_use]
    pub fn issuer_name(&self) -> &str {
        &self.issuer.name
    }

    /// URL of the issuer's certificate (RFC 5280 section 4.2.2.1).
    #[must_use]
    pub fn issuer_uri(&self) -> Option<&str> {
        self.issuer.uri.as_deref()
    }

    /// The serial number in upper-case hexadecimal, two digits per byte, without leading zero bytes.
    #[must_use]
    pub fn serial_hex(&self) -> String {
        let zeros = self.serial.iter().take_while(|byte| **byte == 0).count();
        hex(&self.serial[zeros.min(self.serial.len().saturating_sub(1))..], true)
    }

    /// SHA-256 of the DER, in lower-case hexadecimal.
    #[must_use]
    pub fn sha256_fingerprint(&self) -> String {
        hex(&self.sha256, false)
    }

    /// The identifier of the certificate for renewal information (RFC 9773 section 4.1); `None` without an authority key
    /// identifier.
    #[must_use]
    pub fn ari_cert_id(&self) -> Option<String> {
        let key_id = self.issuer.key_id.as_deref()?;
        Some(format!("{}.{}", base64url(key_id), base64url(&self.serial)))
    }

    /// Shares the equal parts of both in memory.
    pub fn share(&mut self, other: &Self) {
        if self.issuer == other.issuer {
            self.issuer = Arc::clone(&other.issuer);
        }
    }
}
