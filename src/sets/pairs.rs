//! A set of keys and certificates that is served before a start has put it into `domains/`, and the document it is kept in.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::choice::Candidate;
use super::served::{self, CertificateSet};
use super::staged;
use crate::acme::PortError;
use crate::crypto::{
    Certificate, Chain, ChainError, CryptoError, PrivateKey, TlsPair, authentication_code, base64url, is_same_code,
};
use crate::documents::to_json;
use crate::model::{KeySpec, ManagedDomain, State, Status};
use crate::schedule::Validity;
use crate::store::Secret;

/// Keys and certificates of one domain, at most one of each type of key and at least one in all. They fit each other and
/// the domain.
#[derive(Debug)]
pub struct PairSet {
    /// The directory URL of the CA that issued what is new in it.
    pub ca_url: Option<String>,
    /// The URL of the account there that it was issued for.
    pub account_url: Option<String>,
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
pub enum PairSetError {
    /// The document has another form.
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
    /// Whoever wrote the document does not have the secret of the store, or wrote it for another domain or in an earlier form.
    #[error("it was not written by a server of this store for this domain")]
    Planted,
}

/// The use of the key that is derived for the codes of documents.
const PURPOSE: &str = "mod_md live.json";

/// The form in the store. What is new in it has to be optional.
#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(rename = "ca-url", default, skip_serializing_if = "Option::is_none")]
    ca_url: Option<String>,
    #[serde(rename = "account-url", default, skip_serializing_if = "Option::is_none")]
    account_url: Option<String>,
    pairs: Vec<PairDocument>,
    /// Shows that somebody who has the store's secret wrote all of it. The server's user can write the file, too.
    #[serde(default)]
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct PairDocument {
    #[serde(rename = "type")]
    kind: String,
    chain: String,
    #[serde(rename = "private-key")]
    key: String,
}

impl Document {
    fn read(text: &[u8], secret: &Secret, name: &str) -> Result<Self, PairSetError> {
        let document: Self = serde_json::from_slice(text)?;
        let expected = document.code(secret, name).map_err(|_| PairSetError::Planted)?;
        let is_own = is_same_code(document.mac.as_bytes(), expected.as_bytes());
        if is_own { Ok(document) } else { Err(PairSetError::Planted) }
    }

    fn code(&self, secret: &Secret, name: &str) -> Result<String, CryptoError> {
        let url = |url: &Option<String>| url.clone().unwrap_or_default();
        let [ca_url, account_url] = [&self.ca_url, &self.account_url].map(url);
        let mut parts = vec![name, &ca_url, &account_url];
        parts.extend(self.pairs.iter().flat_map(|pair| [&*pair.kind, &*pair.chain, &*pair.key]));
        let parts: Vec<_> = parts.into_iter().map(str::as_bytes).collect();
        Ok(base64url(&authentication_code(secret.as_bytes(), PURPOSE, &parts)?))
    }

    fn bound(mut self, secret: &Secret, name: &str) -> Result<Vec<u8>, PortError> {
        self.mac = self.code(secret, name).map_err(|err| failure(err.to_string()))?;
        to_json(&self)
    }
}

fn failure(text: String) -> PortError {
    PortError { status: Status::GENERAL, text }
}

impl PairSet {
    /// Reads a document and looks whether it can be served for the domain. One that has expired can: it was good when it was
    /// written, and what would be served in its place is older. Types of key that the domain does not have are passed over.
    ///
    /// # Errors
    /// See [`PairSetError`].
    pub fn from_json(text: &[u8], secret: &Secret, md: &ManagedDomain, now: Timestamp) -> Result<Self, PairSetError> {
        let pair_set = Self::read(text, secret, md)?;
        pair_set.verify(|Pair { spec, key, chain }| {
            let last = chain.leaf().not_after().checked_sub(SignedDuration::from_secs(1));
            let at = last.map_or(now, |last| last.min(now));
            staged::verify(md, spec, key, chain, at)
        })?;
        Ok(pair_set)
    }

    /// Reads what was live when the server ended, as a start reads `domains/`: the configuration may want other names since, or
    /// must-staple, which is a reason to renew, but none to serve something older. `None` if there is nothing for the types of
    /// key that the domain has now.
    ///
    /// # Errors
    /// See [`PairSetError`]. A certificate with no name of the domain is another's.
    pub fn kept(text: &[u8], secret: &Secret, md: &ManagedDomain) -> Result<Option<Self>, PairSetError> {
        let pair_set = Self::read(text, secret, md)?;
        if pair_set.pairs.is_empty() {
            return Ok(None);
        }
        pair_set.verify(|pair| pair.is_of(md))?;
        Ok(Some(pair_set))
    }

    fn read(text: &[u8], secret: &Secret, md: &ManagedDomain) -> Result<Self, PairSetError> {
        let document = Document::read(text, secret, md.name.as_str())?;
        let mut pairs = Vec::new();
        for spec in md.key_specs().0 {
            let mut found = document.pairs.iter().filter(|pair| pair.kind.eq_ignore_ascii_case(spec.json_name()));
            let Some(first) = found.next() else { continue };
            if found.next().is_some() {
                return Err(PairSetError::Twice(first.kind.clone()));
            }
            pairs.push(first.read(spec, secret)?);
        }
        Ok(Self { ca_url: document.ca_url, account_url: document.account_url, pairs })
    }

    /// Makes the document of one domain from that of another, which has got a new first name.
    ///
    /// # Errors
    /// If the document was not written for the domain of that name.
    pub fn renamed(text: &[u8], secret: &Secret, former: &str, new: &str) -> Result<Vec<u8>, PortError> {
        let document = Document::read(text, secret, former);
        document.map_err(|err| failure(err.to_string()))?.bound(secret, new)
    }

    /// The document for the domain of this name, with its keys encrypted.
    ///
    /// # Errors
    /// Those of OpenSSL.
    pub fn to_json(&self, secret: &Secret, name: &str) -> Result<Vec<u8>, PortError> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|err| failure(err.to_string()));
        let write = |pair: &Pair| {
            let key = pair.key.to_encrypted_pem(secret.as_bytes()).map_err(|err| failure(err.to_string()))?;
            let kind = pair.spec.json_name().to_owned();
            Ok(PairDocument { kind, chain: text(pair.chain.to_pem())?, key: text(key)? })
        };
        let pairs = self.pairs.iter().map(write).collect::<Result<_, PortError>>()?;
        let document =
            Document { ca_url: self.ca_url.clone(), account_url: self.account_url.clone(), pairs, mac: String::new() };
        document.bound(secret, name)
    }

    /// The key and the certificate for a type of key.
    #[must_use]
    pub fn pair(&self, spec: &KeySpec) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.spec == *spec)
    }

    /// From the latest beginning to the earliest end, also if that is before it.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        let validities = self.pairs.iter().map(|pair| (pair.chain.leaf().not_before(), pair.chain.leaf().not_after()));
        validities.reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)))
    }

    fn verify(&self, verify: impl Fn(&Pair) -> Result<(), String>) -> Result<(), PairSetError> {
        if self.pairs.is_empty() {
            return Err(PairSetError::Empty);
        }
        self.pairs.iter().try_for_each(verify).map_err(PairSetError::Unfit)
    }
}

impl Pair {
    /// Whether the key fits and the certificate is for some name of the domain; if not, why.
    pub(crate) fn is_of(&self, md: &ManagedDomain) -> Result<(), String> {
        let leaf = self.chain.leaf();
        let name = self.spec.json_name();
        self.chain.check().map_err(|err| format!("certificate({name}): {err}"))?;
        if !self.key.fits(leaf) {
            return Err(format!("certificate({name}) and private key do not match"));
        }
        let is_for_one = md.domains.iter().any(|domain| leaf.covers(domain));
        if is_for_one { Ok(()) } else { Err(format!("certificate({name}) is not for {}", md.name)) }
    }
}

impl Candidate<Pair> {
    /// A pair that was written to the store at that time.
    pub(crate) fn of(pair: Pair, written: Option<Timestamp>) -> Self {
        let certificate = pair.chain.leaf().summary();
        Self::new(pair, &certificate, written)
    }
}

impl PairDocument {
    fn read(&self, spec: KeySpec, secret: &Secret) -> Result<Pair, PairSetError> {
        let kind = || self.kind.clone();
        let key = PrivateKey::from_pem(self.key.as_bytes(), Some(secret.as_bytes()))
            .map_err(|err| PairSetError::Key(kind(), err))?;
        let chain = Chain::from_pem(self.chain.as_bytes()).map_err(|err| PairSetError::Chain(kind(), err))?;
        Ok(Pair { spec, key, chain })
    }
}

/// A set as handshakes take it. Dropping it wipes its keys, once no handshake has them any more.
#[derive(Debug)]
pub struct TlsSet {
    /// The directory URL of the CA that issued what is new in it.
    pub ca_url: Option<String>,
    /// The URL of the account there that it was issued for.
    pub account_url: Option<String>,
    /// In the order of the domain's types of key.
    pub pairs: Vec<(KeySpec, TlsPair)>,
    /// Whether there is a pair for each key type. Else those stay that the TLS host has had since the start.
    pub is_whole: bool,
    /// Types of key whose certificates lack what the domain is to have since it was restarted, and what that is.
    pub lacks: Vec<(KeySpec, String)>,
    /// When it was written to the store; `None` if that is not known.
    pub since: Option<Timestamp>,
    /// Whether the log has it that OpenSSL does not take a certificate where it is to be served.
    refused: AtomicBool,
}

impl TlsSet {
    /// Decodes a set.
    ///
    /// # Errors
    /// If OpenSSL cannot read what we can.
    pub fn new(pair_set: &PairSet, md: &ManagedDomain) -> Result<Self, CryptoError> {
        let lack = |Pair { spec, chain, .. }: &Pair| Some((spec.clone(), served::lack(md, spec, chain)?));
        Ok(Self {
            ca_url: pair_set.ca_url.clone(),
            account_url: pair_set.account_url.clone(),
            is_whole: pair_set.pairs.len() == md.key_specs().0.len(),
            lacks: pair_set.pairs.iter().filter_map(lack).collect(),
            ..Self::of_start(&pair_set.pairs)?
        })
    }

    /// Decodes the set that a start has found for a domain.
    ///
    /// # Errors
    /// As for [`TlsSet::new`].
    pub fn of_start(pairs: &[Pair]) -> Result<Self, CryptoError> {
        let pairs = pairs.iter().map(|Pair { spec, key, chain }| Ok((spec.clone(), TlsPair::new(key, chain)?)));
        let pairs = pairs.collect::<Result<Vec<_>, CryptoError>>()?;
        let refused = AtomicBool::new(false);
        Ok(Self { ca_url: None, account_url: None, pairs, is_whole: true, lacks: Vec::new(), since: None, refused })
    }

    /// Notes that OpenSSL does not take one of its certificates. Returns whether that is news in this process.
    pub fn refuse(&self) -> bool {
        !self.refused.swap(true, Ordering::Relaxed)
    }

    /// The certificate for this type of key, with its key.
    #[must_use]
    pub fn pair(&self, spec: &KeySpec) -> Option<&TlsPair> {
        self.pairs.iter().find(|(own, _)| own == spec).map(|(_, pair)| pair)
    }

    /// The set that was served at the start, with what went live since in its place.
    #[must_use]
    pub fn over(&self, at_start: &CertificateSet, md: &ManagedDomain) -> CertificateSet {
        let mut set = at_start.clone();
        let specs = md.key_specs().0;
        set.certificates.resize(specs.len(), None);
        for (position, spec) in specs.iter().enumerate() {
            if let Some(pair) = self.pair(spec) {
                set.certificates[position] = Some(pair.summary().clone());
                set.unfit.retain(|unfit| *unfit != position);
            }
            if self.lacks.iter().any(|(own, _)| own == spec) {
                set.unfit.push(position);
            }
        }
        if let Some((_, reason)) = self.lacks.first() {
            (set.state, set.state_descr) = (Some(State::Incomplete), Some(reason.clone()));
        } else if set.unfit.is_empty() {
            (set.state, set.state_descr) = (Some(State::Complete), None);
        }
        set
    }

    /// Whether it is this certificate that it has, whatever the type of key.
    #[must_use]
    pub fn has(&self, sha1: &[u8; 20]) -> bool {
        self.pairs.iter().any(|(_, pair)| pair.sha1() == sha1)
    }

    /// Whether a certificate for this type of key is nothing new: it is the one that it has, or was issued before that.
    #[must_use]
    pub fn outdates(&self, spec: &KeySpec, leaf: &Certificate) -> bool {
        let staged = Candidate::new((), &leaf.summary(), None);
        let is_newer = |pair: &TlsPair| Candidate::new((), pair.summary(), None).outdates(&staged);
        self.has(&leaf.sha1()) || self.pair(spec).is_some_and(is_newer)
    }
}
