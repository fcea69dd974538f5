//! The certificates that a domain serves: what there is in `domains/`, what it is worth, and when it is to be renewed.

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::schedule::{self, Validity};
use super::vault::Vault;
use crate::crypto::{Chain, ChainError, Summary, key_fits};
use crate::log::report;
use crate::model::{KeySpec, ManagedDomain, State, Window};
use crate::store::{Aspect, Group, Store};

/// Shorter files without a certificate count as missing; longer ones as damaged.
const DAMAGED_FROM: usize = 1024;

/// The certificates of a domain as they were when they were looked at, one entry per key type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveSet {
    /// `None` where the certificate is missing.
    pub certificates: Vec<Option<Summary>>,
    /// What the set is worth.
    pub state: Option<State>,
    /// Why it is not complete.
    pub state_descr: Option<String>,
}

/// What there is of one key type.
pub(super) enum Found {
    /// No certificate.
    Nothing,
    /// One that cannot be read, and why.
    Damaged(String),
    /// One, and whether the key fits; `None` if the key is missing or cannot be read.
    Chain(Option<bool>),
}

impl LiveSet {
    /// Looks at the active certificates of a domain.
    #[must_use]
    pub fn load(vault: &Vault, md: &ManagedDomain) -> Self {
        Self::look(vault, md, |_, _| {})
    }

    /// The same, and tells of each key type whether key and chain are there, readable, and fit each other: what mod_ssl
    /// cannot start without. A type that is not there is no reason to speak.
    pub(super) fn look(vault: &Vault, md: &ManagedDomain, mut tell: impl FnMut(&KeySpec, Found)) -> Self {
        let mut set = Self { state: Some(State::Complete), ..Self::default() };
        for spec in &md.key_specs().0 {
            let (checked, found) = match read_chain(vault.store(), Group::Domains, md, spec) {
                Ok(chain) => {
                    let fits = has_key(vault, md, spec, &chain);
                    set.certificates.push(Some(chain.leaf().summary()));
                    (check(md, spec, &chain).and_then(|()| check_key(spec, fits)), Found::Chain(fits))
                }
                Err((state, reason)) => {
                    set.certificates.push(None);
                    let found = if state == State::Error { Found::Damaged(reason.clone()) } else { Found::Nothing };
                    (Err((state, reason)), found)
                }
            };
            if let (Err((state, reason)), Some(State::Complete)) = (checked, set.state) {
                (set.state, set.state_descr) = (Some(state), Some(reason));
            }
            tell(spec, found);
        }
        set
    }

    /// When the set is to be renewed; `now` if it is not complete.
    #[must_use]
    pub fn renew_at(&self, window: Window, now: Timestamp) -> Timestamp {
        if self.state != Some(State::Complete) {
            return now;
        }
        let validities: Vec<_> = self.certificates.iter().map(|cert| cert.as_ref().map(Summary::validity)).collect();
        schedule::renew_at(&validities, window, now)
    }

    /// Keeps only once what certificates of both sets have in common.
    pub(super) fn share(&mut self, other: &Self) {
        let both = self.certificates.iter_mut().flatten().zip(other.certificates.iter().flatten());
        both.for_each(|(own, other)| own.share(other));
    }

    /// The span in which all certificates are good.
    #[must_use]
    pub fn common_validity(&self) -> Option<Validity> {
        common_validity(self.certificates.iter().map(Option::as_ref))
    }
}

/// The span in which all of these are good; `None` if one is missing or there is no such span.
pub fn common_validity<'a>(certificates: impl Iterator<Item = Option<&'a Summary>>) -> Option<Validity> {
    let validities: Option<Vec<_>> = certificates.map(|cert| cert.map(Summary::validity)).collect();
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
        let (wanted, found) =
            if md.must_staple { ("is requested", "has it not") } else { ("is not requested", "has it") };
        return Err((State::Incomplete, format!("'must-staple' {wanted}, but certificate({name}) {found} enabled.")));
    }
    Ok(())
}

/// A certificate without its key is as good as none.
fn check_key(spec: &KeySpec, fits: Option<bool>) -> Result<(), (State, String)> {
    match fits {
        Some(true) => Ok(()),
        _ => Err((State::Incomplete, format!("certificate({}) has no private key that fits.", spec.json_name()))),
    }
}

/// Whether the key of that type is the one of the chain; `None` if it is missing or cannot be read.
fn has_key(vault: &Vault, md: &ManagedDomain, spec: &KeySpec, chain: &Chain) -> Option<bool> {
    let aspect = Aspect::PrivateKey(spec.clone());
    let loaded = vault.store().load(Group::Domains, md.name.as_str(), &aspect).inspect_err(|err| {
        report!(AH10110, err.status(); "{}: {err}", md.name);
    });
    let pem = Zeroizing::new(loaded.ok()??);
    key_fits(&pem, Some(vault.store().secret().as_bytes()), chain.leaf())
}

/// Whether mod_ssl can start with what was found; if not, the reason is told.
pub(super) fn is_usable(md: &ManagedDomain, spec: &KeySpec, found: &Found) -> bool {
    let name = spec.json_name();
    match found {
        Found::Chain(Some(true)) => return true,
        Found::Chain(Some(false)) => {
            report!(AH10110, "{}: private key({name}) does not fit the certificate", md.name);
        }
        Found::Chain(None) => report!(AH10110, "{}: private key({name}) is missing or cannot be read", md.name),
        Found::Damaged(reason) => report!(AH10110, "{}: certificate({name}) cannot be read: {reason}", md.name),
        Found::Nothing => {}
    }
    false
}
