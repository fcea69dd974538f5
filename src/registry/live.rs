//! The certificates that a domain serves: what there is in `domains/`, what it is worth, and when it is to be renewed.

use jiff::Timestamp;

use super::schedule::{self, Validity};
use super::vault::Vault;
use crate::crypto::{Certificate, Chain, ChainError};
use crate::log::report;
use crate::model::{KeySpec, ManagedDomain, State, Window};
use crate::store::{Aspect, Group, Store};

/// Shorter files without a certificate count as missing; longer ones as damaged.
const DAMAGED_FROM: usize = 1024;

/// What is told of a certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct CertificateFacts {
    /// Name of its key type.
    pub spec: String,
    /// Issuer in one line.
    pub issuer_name: String,
    /// Where the issuer's certificate is.
    pub issuer_uri: Option<String>,
    /// Good from, and until.
    pub validity: Validity,
    /// Serial number, upper-case hex.
    pub serial: String,
    /// Fingerprint, lower-case hex.
    pub sha256_fingerprint: String,
    /// Identifier for renewal information (RFC 9773 section 4.1).
    pub ari_cert_id: Option<String>,
}

/// The certificates of a domain as they were when they were looked at, one entry per key type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveSet {
    /// `None` where the certificate is missing.
    pub certificates: Vec<Option<CertificateFacts>>,
    /// What the set is worth.
    pub state: Option<State>,
    /// Why it is not complete.
    pub state_descr: Option<String>,
}

impl CertificateFacts {
    /// The facts of a certificate for a key type.
    #[must_use]
    pub fn new(spec: &KeySpec, certificate: &Certificate) -> Self {
        Self {
            spec: spec.json_name().to_owned(),
            issuer_name: certificate.issuer_one_line().to_owned(),
            issuer_uri: certificate.issuer_uri(),
            validity: (certificate.not_before(), certificate.not_after()),
            serial: certificate.serial_hex(),
            sha256_fingerprint: certificate.sha256_fingerprint(),
            ari_cert_id: certificate.ari_cert_id(),
        }
    }
}

impl LiveSet {
    /// Looks at the active certificates of a domain.
    #[must_use]
    pub fn load(vault: &Vault, md: &ManagedDomain) -> Self {
        let mut set = Self { state: Some(State::Complete), ..Self::default() };
        for spec in &md.key_specs().0 {
            let chain = read_chain(vault.store(), Group::Domains, md, spec);
            let checked = chain.as_ref().map_err(Clone::clone);
            let checked =
                checked.and_then(|chain| check(md, spec, chain).and_then(|()| check_key(vault, md, spec, chain)));
            if let Err((state, reason)) = checked {
                if set.state == Some(State::Complete) {
                    (set.state, set.state_descr) = (Some(state), Some(reason));
                }
            }
            set.certificates.push(chain.ok().map(|chain| CertificateFacts::new(spec, chain.leaf())));
        }
        set
    }

    /// When the set is to be renewed; `now` if it is not complete.
    #[must_use]
    pub fn renew_at(&self, window: Window, now: Timestamp) -> Timestamp {
        if self.state != Some(State::Complete) {
            return now;
        }
        let validities: Vec<_> = self.certificates.iter().map(|cert| cert.as_ref().map(|cert| cert.validity)).collect();
        schedule::renew_at(&validities, window, now)
    }

    /// The span in which all certificates are good.
    #[must_use]
    pub fn common_validity(&self) -> Option<Validity> {
        common_validity(self.certificates.iter().map(Option::as_ref))
    }
}

/// The span in which all of these are good; `None` if one is missing or there is no such span.
pub fn common_validity<'a>(certificates: impl Iterator<Item = Option<&'a CertificateFacts>>) -> Option<Validity> {
    let validities: Option<Vec<_>> = certificates.map(|cert| cert.map(|cert| cert.validity)).collect();
    let common = validities?.into_iter().reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)))?;
    (common.0 < common.1).then_some(common)
}

/// Reads a chain; the error says what that makes of the domain.
pub(super) fn read_chain(
    store: &dyn Store,
    group: Group,
    md: &ManagedDomain,
    spec: &KeySpec,
) -> Result<Chain, (State, String)> {
    let missing = || (State::Incomplete, format!("certificate({}) is missing", spec.json_name()));
    let pem = match store.load(group, md.name.as_str(), &Aspect::Chain(spec.clone())) {
        Ok(pem) => pem.ok_or_else(missing)?,
        Err(err) => return Err((State::Error, err.to_string())),
    };
    match Chain::from_pem(&pem) {
        Ok(chain) if chain.leaf().names().is_empty() => Err(missing()),
        Ok(chain) => Ok(chain),
        Err(ChainError::Empty) if pem.len() < DAMAGED_FROM => Err(missing()),
        Err(_) => Err((State::Error, "error initializing".to_owned())),
    }
}

fn check(md: &ManagedDomain, spec: &KeySpec, chain: &Chain) -> Result<(), (State, String)> {
    let (leaf, name) = (chain.leaf(), spec.json_name());
    if !md.domains.iter().all(|domain| leaf.covers(domain)) {
        return Err((State::Incomplete, format!("certificate({name}) does not cover all domains.")));
    }
    if leaf.must_staple() != md.must_staple {
        let text = if md.must_staple {
            "is not must-staple, but MDMustStaple is on"
        } else {
            "is must-staple, but MDMustStaple is off"
        };
        return Err((State::Incomplete, format!("certificate({name}) {text}.")));
    }
    Ok(())
}

/// A certificate without its key is as good as none.
fn check_key(vault: &Vault, md: &ManagedDomain, spec: &KeySpec, chain: &Chain) -> Result<(), (State, String)> {
    let key = vault.load_key(Group::Domains, md.name.as_str(), &Aspect::PrivateKey(spec.clone()));
    if key.is_some_and(|key| key.fits(chain.leaf())) {
        return Ok(());
    }
    Err((State::Incomplete, format!("certificate({}) has no private key that fits.", spec.json_name())))
}

/// Whether key and chain of that type are there, readable, and fit each other: what mod_ssl cannot start without.
pub(super) fn is_usable(vault: &Vault, md: &ManagedDomain, spec: &KeySpec) -> bool {
    let Ok(chain) = read_chain(vault.store(), Group::Domains, md, spec).map_err(|(state, reason)| {
        if state == State::Error {
            report!(AH10110, "{}: certificate({}) cannot be read: {reason}", md.name, spec.json_name());
        }
    }) else {
        return false;
    };
    let key = vault.load_key(Group::Domains, md.name.as_str(), &Aspect::PrivateKey(spec.clone()));
    let fits = key.as_ref().is_some_and(|key| key.fits(chain.leaf()));
    if key.is_some() && !fits {
        report!(AH10110, "{}: private key({}) does not fit the certificate", md.name, spec.json_name());
    }
    fits
}
