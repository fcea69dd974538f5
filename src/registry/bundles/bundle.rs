//! A set of keys and certificates that is served before a start has put it into `domains/`, and the document it is kept in.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::acme::PortError;
use crate::crypto::{Chain, ChainError, CryptoError, PrivateKey, TlsPair};
use crate::model::{KeySpec, ManagedDomain, Status};
use crate::registry::staged;
use crate::registry::vault::to_json;
use crate::store::Secret;

/// Keys and certificates of one domain, at most one of each type of key and at least one in all. They fit each other and
/// the domain.
#[derive(Debug)]
pub struct Bundle {
    /// The directory URL of the CA that issued what is new in it.
    pub ca_url: Option<String>,
    /// In the order of the domain's types of key; types that need nothing new may be left out.
    pub pairs: Vec<Pair>,
}

/// The key and the certificate of one type of key.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The type.
    pub spec: KeySpec,
    /// The key.
    pub key: PrivateKey,
    /// The certificate for it, with its issuers.
    pub chain: Chain,
}

/// Why a document is no set that can be served.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It has another form.
    #[error("it cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    /// There is nothing in it for the types of key that the domain has.
    #[error("there is nothing in it for the domain's types of key")]
    Empty,
    /// There are two certificates for one type of key.
    #[error("certificate({0}) is there twice")]
    Twice(String),
    /// A key is damaged, or was encrypted for another store.
    #[error("private key({0}): {1}")]
    Key(String, CryptoError),
    /// A chain is damaged.
    #[error("certificate({0}): {1}")]
    Chain(String, ChainError),
    /// A certificate does not fit its key or the domain.
    #[error("{0}")]
    Unfit(String),
}

/// The form in the store. What is new in it has to be optional.
#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(rename = "ca-url", default, skip_serializing_if = "Option::is_none")]
    ca_url: Option<String>,
    pairs: Vec<PairDocument>,
}

#[derive(Serialize, Deserialize)]
struct PairDocument {
    #[serde(rename = "type")]
    kind: String,
    chain: String,
    #[serde(rename = "private-key")]
    key: String,
}

impl Bundle {
    /// Reads a document and looks whether it can be served for the domain. One that has expired can: it was good when it was
    /// written, and what would be served in its place is older. Types of key that the domain does not have are passed over.
    ///
    /// # Errors
    /// See [`BundleError`].
    pub fn from_json(text: &[u8], secret: &Secret, md: &ManagedDomain, now: Timestamp) -> Result<Self, BundleError> {
        let document: Document = serde_json::from_slice(text)?;
        let mut pairs = Vec::new();
        for spec in md.key_specs().0 {
            let mut found = document.pairs.iter().filter(|pair| pair.kind.eq_ignore_ascii_case(spec.json_name()));
            let Some(first) = found.next() else { continue };
            if found.next().is_some() {
                return Err(BundleError::Twice(first.kind.clone()));
            }
            pairs.push(first.read(spec, secret)?);
        }
        let bundle = Self { ca_url: document.ca_url, pairs };
        bundle.verify(md, now)?;
        Ok(bundle)
    }

    /// The document, with its keys encrypted.
    ///
    /// # Errors
    /// Those of OpenSSL.
    pub fn to_json(&self, secret: &Secret) -> Result<Vec<u8>, PortError> {
        let failed = |text: String| PortError { status: Status::GENERAL, text };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|err| failed(err.to_string()));
        let write = |pair: &Pair| {
            let key = pair.key.to_encrypted_pem(secret.as_bytes()).map_err(|err| failed(err.to_string()))?;
            let kind = pair.spec.json_name().to_owned();
            Ok(PairDocument { kind, chain: text(pair.chain.to_pem())?, key: text(key)? })
        };
        let pairs = self.pairs.iter().map(write).collect::<Result<_, PortError>>()?;
        to_json(&Document { ca_url: self.ca_url.clone(), pairs })
    }

    /// When all of it is good: from the latest beginning.
    #[must_use]
    pub fn valid_from(&self) -> Option<Timestamp> {
        self.pairs.iter().map(|pair| pair.chain.leaf().not_before()).max()
    }

    fn verify(&self, md: &ManagedDomain, now: Timestamp) -> Result<(), BundleError> {
        if self.pairs.is_empty() {
            return Err(BundleError::Empty);
        }
        let verify = |Pair { spec, key, chain }: &Pair| {
            let last = chain.leaf().not_after().checked_sub(SignedDuration::from_secs(1));
            let at = last.map_or(now, |last| last.min(now));
            staged::verify(md, spec, key, chain, at).map_err(BundleError::Unfit)
        };
        self.pairs.iter().try_for_each(verify)
    }
}

impl PairDocument {
    fn read(&self, spec: KeySpec, secret: &Secret) -> Result<Pair, BundleError> {
        let kind = || self.kind.clone();
        let key = PrivateKey::from_pem(self.key.as_bytes(), Some(secret.as_bytes()))
            .map_err(|err| BundleError::Key(kind(), err))?;
        let chain = Chain::from_pem(self.chain.as_bytes()).map_err(|err| BundleError::Chain(kind(), err))?;
        Ok(Pair { spec, key, chain })
    }
}

/// A set as handshakes take it. Dropping it wipes its keys, once no handshake has them any more.
#[derive(Debug)]
pub struct Served {
    /// The directory URL of the CA that issued what is new in it.
    pub ca_url: Option<String>,
    /// In the order of the domain's types of key.
    pub pairs: Vec<(KeySpec, TlsPair)>,
    /// There is one for each type of key. Else those stay that the TLS host has had since the start.
    pub is_whole: bool,
}

impl Served {
    /// Decodes a set.
    ///
    /// # Errors
    /// If OpenSSL cannot read what we can.
    pub fn new(bundle: &Bundle, md: &ManagedDomain) -> Result<Self, CryptoError> {
        let decode = |Pair { spec, key, chain }: &Pair| Ok((spec.clone(), TlsPair::new(key, chain)?));
        let pairs = bundle.pairs.iter().map(decode).collect::<Result<Vec<_>, CryptoError>>()?;
        let is_whole = pairs.len() == md.key_specs().0.len();
        Ok(Self { ca_url: bundle.ca_url.clone(), pairs, is_whole })
    }

    /// Whether it is this certificate that it has, whatever the type of key.
    #[must_use]
    pub fn has(&self, sha1: &[u8; 20]) -> bool {
        self.pairs.iter().any(|(_, pair)| pair.sha1() == sha1)
    }
}
