//! Chains of certificates, and their PEM text.

use std::collections::VecDeque;

use super::pem::{PemBlocks, decode};
use super::{Certificate, ChainError, CryptoError};

/// A certificate and its issuers up to a root: never empty, the leaf first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain(Vec<Certificate>);

/// Issuers that were decoded lately: the chains of thousands of domains have few different ones.
#[derive(Default)]
pub struct Issuers(VecDeque<(Vec<u8>, Certificate)>);

impl Issuers {
    /// The most that are kept. The oldest goes first.
    const MOST: usize = 8;

    fn get(&self, body: &[u8]) -> Option<Certificate> {
        self.0.iter().find(|(known, _)| known == body).map(|(_, issuer)| issuer.clone())
    }

    fn keep(&mut self, body: &[u8], issuer: &Certificate) {
        self.0.truncate(Self::MOST - 1);
        self.0.push_front((body.to_vec(), issuer.clone()));
    }
}

impl Chain {
    /// The most certificates in a chain: a handshake sends them all, and clients give up on long ones.
    pub const MOST: usize = 10;
    /// The most bytes of all certificates in a chain.
    const LONGEST: usize = 64 << 10;

    /// Makes a chain of these certificates, that of the server first: at least one.
    #[must_use]
    pub(crate) fn of(certificates: Vec<Certificate>) -> Self {
        debug_assert!(!certificates.is_empty());
        Self(certificates)
    }

    /// Parses all certificates of a PEM text; other blocks are passed over.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, ChainError> {
        Self::from_pem_with(pem, &mut Issuers::default())
    }

    /// Parses a PEM text as [`Chain::from_pem`] does, but no issuer that is known. Keeps what it decodes of issuers.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn from_pem_with(pem: &[u8], issuers: &mut Issuers) -> Result<Self, ChainError> {
        let read = |(index, body): (usize, Result<&[u8], &str>)| {
            let damaged = |reason| ChainError::Damaged { position: index + 1, reason };
            let body = body.map_err(|reason| damaged(reason.to_owned()))?;
            let is_issuer = index > 0;
            if let Some(known) = is_issuer.then(|| issuers.get(body)).flatten() {
                return Ok(known);
            }
            let der = decode(body).map_err(|reason| damaged(reason.to_owned()))?;
            let certificate = Certificate::from_der(&der).map_err(|error| match error {
                CryptoError::DamagedCertificate(reason) => damaged(reason),
                other => damaged(other.to_string()),
            })?;
            if is_issuer {
                issuers.keep(body, &certificate);
            }
            Ok(certificate)
        };
        let certificates = PemBlocks(pem).enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() { Err(ChainError::Empty) } else { Ok(Self(certificates)) }
    }

    /// Parses a PEM text, or a single certificate in DER.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn from_der_or_pem(bytes: &[u8]) -> Result<Self, ChainError> {
        Certificate::from_der(bytes).map_or_else(|_| Self::from_pem(bytes), |leaf| Ok(Self(vec![leaf])))
    }

    /// The first certificate, which the others vouch for.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        &self.0[0]
    }

    /// All certificates, the leaf first.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }

    /// Checks that the chain is not too long to be sent in handshakes.
    ///
    /// # Errors
    /// If it has more than ten certificates or 64 KB.
    pub fn check_length(&self) -> Result<(), ChainError> {
        check_length(self.0.len(), self.0.iter().map(|certificate| certificate.to_der().len()).sum())
    }

    /// Checks the length, and that OpenSSL, and with it the server, can read every certificate and its key. OpenSSL is stricter
    /// and much slower than our parser, so this is for new chains.
    ///
    /// # Errors
    /// If the chain is too long; else names the first certificate that OpenSSL cannot read.
    pub fn check(&self) -> Result<(), ChainError> {
        self.check_length()?;
        for (index, certificate) in self.0.iter().enumerate() {
            certificate
                .x509()
                .and_then(|x509| x509.public_key())
                .map_err(|errors| ChainError::Damaged { position: index + 1, reason: errors.to_string() })?;
        }
        Ok(())
    }

    /// Whether each certificate was signed by the next.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.0.windows(2).all(|pair| pair[0].is_signed_by(&pair[1]))
    }

    /// The chain as PEM, the leaf first.
    #[must_use]
    pub fn to_pem(&self) -> Vec<u8> {
        self.0.iter().map(Certificate::to_pem).collect::<String>().into_bytes()
    }

    /// Returns the chain with one more certificate at its end, for CAs that hand them out one by one.
    #[must_use]
    pub fn extended(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }
}

fn check_length(certificates: usize, bytes: usize) -> Result<(), ChainError> {
    let fits = certificates <= Chain::MOST && bytes <= Chain::LONGEST;
    if fits { Ok(()) } else { Err(ChainError::TooLong { certificates, bytes }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{PrivateKey, self_signed};
    use crate::model::{DomainName, KeySpec, Timestamp};

    fn with_name(name: &str) -> Certificate {
        let key = PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap();
        self_signed(&key, name, &[DomainName::parse(name).unwrap()], Timestamp::UNIX_EPOCH, 1).unwrap()
    }

    #[test]
    fn a_chain_has_at_most_ten_certificates_and_64_kb() {
        let rows = [(1, 1000, true), (10, 1 << 16, true), (11, 1000, false), (2, (1 << 16) + 1, false)];
        for (certificates, bytes, expected) in rows {
            assert_eq!(check_length(certificates, bytes).is_ok(), expected, "{certificates} {bytes}");
        }
        let name = with_name("a.org");
        assert!(matches!(Chain(vec![name; 11]).check(), Err(ChainError::TooLong { certificates: 11, .. })));
    }

    #[test]
    fn issuers_that_are_known_are_not_decoded_again_and_few_are_kept() {
        let mut issuers = Issuers::default();
        let pems: Vec<_> = (0..=Issuers::MOST).map(|number| with_name(&format!("ca{number}")).to_pem()).collect();
        let chain = |issuers: &mut Issuers, leaf: &str, issuer: &str| {
            Chain::from_pem_with(format!("{}{issuer}", with_name(leaf).to_pem()).as_bytes(), issuers)
        };
        let [first, second] = ["a.org", "b.org"].map(|leaf| chain(&mut issuers, leaf, &pems[0]).unwrap());
        assert!(std::ptr::eq(first.certificates()[1].to_der(), second.certificates()[1].to_der()));
        assert_ne!(first.leaf(), second.leaf());
        assert_eq!(issuers.0.len(), 1, "no leaf is kept");
        pems.iter().for_each(|issuer| _ = chain(&mut issuers, "c.org", issuer).unwrap());
        assert_eq!(issuers.0.len(), Issuers::MOST);
        let again = chain(&mut issuers, "a.org", &pems[0]).unwrap();
        assert_eq!(again.certificates()[1], first.certificates()[1]);
        let damaged = pems[1].replacen("MII", "NII", 1);
        for _ in 0..2 {
            let error = chain(&mut issuers, "a.org", &damaged).unwrap_err();
            assert!(matches!(error, ChainError::Damaged { position: 2, .. }), "{error}");
        }
    }

    #[test]
    fn chain_reads_back_among_other_text() {
        let [leaf, issuer] = [with_name("a.org"), with_name("ca")];
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let text = format!("words\n{key}{}more\r\n{}", leaf.to_pem(), issuer.to_pem().replace('\n', "\r\n"));
        let chain = Chain::from_pem(text.as_bytes()).unwrap();
        assert_eq!(chain.certificates(), [leaf.clone(), issuer.clone()]);
        assert_eq!(chain.to_pem(), format!("{}{}", leaf.to_pem(), issuer.to_pem()).into_bytes());
        let one = Chain::from_der_or_pem(leaf.to_der()).unwrap();
        assert_eq!(one.leaf(), &leaf);
        assert_eq!(one.extended(Chain::from_der_or_pem(issuer.to_pem().as_bytes()).unwrap()), chain);
    }

    #[test]
    fn check_finds_a_key_that_openssl_cannot_read() {
        let good = with_name("a.org");
        let mut der = good.to_der().to_vec();
        // The point on the curve is what follows this curve's identifier; its first byte tells the form.
        let curve = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00];
        let at = der.windows(curve.len()).position(|window| window == curve).unwrap() + curve.len();
        der[at] = 0x09;
        let bad = Certificate::from_der(&der).unwrap();
        assert!(Chain(vec![good.clone()]).check().is_ok());
        assert!(matches!(Chain(vec![good, bad]).check(), Err(ChainError::Damaged { position: 2, .. })));
    }

    #[test]
    fn damaged_chains_are_told_from_empty_ones() {
        for text in ["", "words", "-----BEGIN", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert!(matches!(Chain::from_pem(text.as_bytes()), Err(ChainError::Empty)), "{text}");
            assert!(Certificate::from_pem(text.as_bytes()).is_err());
        }
        let pem = with_name("a.org").to_pem();
        let bodies = [
            pem[..pem.len() / 2].to_owned(),
            pem.replacen("MII", "MI", 1),
            pem.replacen("MII", "NII", 1),
            pem.replacen("MII", "===", 1),
            pem.replacen('\n', "\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-CBC,00\n\n", 1),
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".to_owned(),
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
        ];
        for body in bodies {
            let error = Chain::from_pem(format!("{pem}{body}").as_bytes()).unwrap_err();
            assert!(matches!(error, ChainError::Damaged { position: 2, .. }), "{error}: {body}");
        }
    }
}
