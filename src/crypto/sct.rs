//! Signed certificate timestamps of Certificate Transparency (RFC 6962 section 3.2).

use x509_parser::extensions::{SignedCertificateTimestamp, parse_ct_signed_certificate_timestamp_list};

use super::hex;
use crate::model::Timestamp;

/// The OID of the extension with the timestamps (RFC 6962 section 3.3).
pub(super) const SCT_LIST: &str = "1.3.6.1.4.1.11129.2.4.2";

/// Hash and signature algorithms (RFC 5246 section 7.4.1.4.1) that logs may use, by OpenSSL's names.
const ALGORITHMS: [(u8, u8, &str); 2] = [(4, 1, "sha256WithRSAEncryption"), (4, 3, "ecdsa-with-SHA256")];

/// A signed certificate timestamp: the promise of a log to publish the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sct {
    /// The log's id in lower-case hexadecimal: SHA-256 of its public key.
    pub log_id: String,
    /// When the log signed.
    pub signed: Timestamp,
    /// The signature, in lower-case hexadecimal.
    pub signature: String,
    /// The signature's algorithm; `unknown` for one that logs may not use.
    pub signature_type: &'static str,
}

impl Sct {
    /// Parses the content of the extension. An entry that cannot be parsed is left out.
    pub(super) fn read_list(extension: &[u8]) -> Vec<Self> {
        let list = parse_ct_signed_certificate_timestamp_list(extension).map(|(_, list)| list);
        list.unwrap_or_default().iter().filter_map(Self::new).collect()
    }

    fn new(sct: &SignedCertificateTimestamp<'_>) -> Option<Self> {
        let own = (sct.signature.hash_alg_id, sct.signature.sign_alg_id);
        let known = ALGORITHMS.iter().find(|(hash, signature, _)| (*hash, *signature) == own);
        Some(Self {
            log_id: hex(sct.id.key_id, false),
            signed: Timestamp::from_millisecond(sct.timestamp.try_into().ok()?).ok()?,
            signature: hex(sct.signature.data, false),
            signature_type: known.map_or("unknown", |(_, _, name)| name),
        })
    }
}

/// The content of an extension with two of them: a good one, and one of an algorithm and a time that nobody uses.
#[cfg(test)]
pub(crate) fn sample() -> Vec<u8> {
    let sct = |log: u8, millis: u64, algorithm: [u8; 2], signature: &[u8]| {
        let time = millis.to_be_bytes();
        let sct = [&[0], &[log; 32][..], &time, &[0, 0], &algorithm, &[0, signature.len() as u8], signature].concat();
        [&[0, sct.len() as u8], &sct[..]].concat()
    };
    let list = [sct(0x74, 1_559_322_395_678, [4, 3], &[0x30, 0x45, 0x02]), sct(1, 0, [6, 2], &[7])].concat();
    let list = [&[0, list.len() as u8], &list[..]].concat();
    [&[4, list.len() as u8], &list[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_list_are_read() {
        let list = Sct::read_list(&sample());
        assert_eq!(list.len(), 2);
        let first = &list[0];
        assert_eq!((first.log_id.as_str(), first.signature.as_str()), ("74".repeat(32).as_str(), "304502"));
        assert_eq!((first.signed.as_millisecond(), first.signature_type), (1_559_322_395_678, "ecdsa-with-SHA256"));
        assert_eq!((list[1].signed, list[1].signature_type), (Timestamp::UNIX_EPOCH, "unknown"));
    }

    #[test]
    fn what_is_damaged_is_no_list() {
        let good = sample();
        for end in 0..good.len() {
            assert!(Sct::read_list(&good[..end]).is_empty(), "{end}");
        }
        let mut late = good;
        // The moment of the first is beyond all that can be told.
        late[39..47].fill(0xff);
        assert_eq!(Sct::read_list(&late).len(), 1);
    }
}
