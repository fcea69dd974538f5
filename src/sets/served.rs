//! The certificates that a domain serves: what there is in `domains/` or in files of the administrator, what it is worth, and when it is to be renewed.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::active::Active;
use super::advice::Advice;
use crate::acme::ChallengeType;
use crate::crypto::{Chain, ChainError, Summary, key_fits};
use crate::documents::Documents;
use crate::log::report;
use crate::model::{Job, KeySpec, LastRenewal, ManagedDomain, RenewMode, State, Window};
use crate::schedule::{self, Plan, Validity};
use crate::store::{Aspect, Group, StoreError, read_foreign};

/// Shorter files without a certificate count as missing; longer ones as damaged.
const DAMAGED_FROM: usize = 1024;

/// The certificates of a domain as they were when they were looked at, one entry per key type or file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CertificateSet {
    /// `None` where the certificate is missing.
    pub certificates: Vec<Option<Summary>>,
    /// The state of the set; `None` if nobody has looked.
    pub state: Option<State>,
    /// Why it is not complete.
    pub state_descr: Option<String>,
    /// Positions of certificates that are there but do not do: names, a flag or the key are wrong.
    pub(crate) unfit: Vec<usize>,
}

/// Where a certificate and its key are.
pub(crate) enum Source<'a> {
    /// In the store, for this key type.
    Stored(&'a KeySpec),
    /// Told of by those who can read the store, for this key type.
    Told(&'a KeySpec, Option<&'a str>),
    /// In files of the administrator, with their number.
    Files(usize, &'a str, Option<&'a str>),
}

/// The findings for one key type.
pub(crate) enum Found {
    /// No certificate.
    Nothing,
    /// A certificate that cannot be read, and why.
    Damaged(String),
    /// A certificate, and what there is of its key.
    Chain(Chain, FoundKey),
}

/// The private key beside a certificate.
pub(crate) enum FoundKey {
    /// The key is missing or cannot be read.
    Nothing,
    /// The key is that of another certificate.
    Unfit,
    /// The key of the certificate, in PEM.
    Fit(Zeroizing<Vec<u8>>),
}

/// A private key as it is stored, and its chain.
pub struct StoredPair {
    /// The type of the key.
    pub spec: KeySpec,
    /// The key in PEM.
    pub key: Zeroizing<Vec<u8>>,
    /// The chain.
    pub chain: Chain,
}

impl CertificateSet {
    /// Looks at the certificates that a domain serves.
    #[must_use]
    pub fn load(documents: &Documents, md: &ManagedDomain) -> Self {
        Self::look(documents, md, |_, _| {})
    }

    /// Looks at those in the store, whether they are served or not.
    #[must_use]
    pub fn stored(documents: &Documents, md: &ManagedDomain) -> Self {
        let specs = md.key_specs().0;
        Self::look_at(documents, md, specs.iter().map(Source::Stored), |_, _| {})
    }

    /// Looks at certificates in the store by what was announced of them.
    pub(crate) fn told(documents: &Documents, md: &ManagedDomain, active: &Active) -> Self {
        let specs = md.key_specs().0;
        let sources = specs.iter().map(|spec| Source::Told(spec, active.chain(spec)));
        Self::look_at(documents, md, sources, |_, _| {})
    }

    /// Does what [`CertificateSet::load`] does, and tells of each certificate whether key and chain are there, readable, and fit each
    /// other: what mod_ssl cannot start without. One that is not there is no reason to speak.
    pub(crate) fn look(documents: &Documents, md: &ManagedDomain, tell: impl FnMut(&Source<'_>, Found)) -> Self {
        if md.is_static() {
            let keys = md.pkey_files.iter().map(|key| Some(key.as_str())).chain(std::iter::repeat(None));
            let pairs = md.cert_files.iter().zip(keys).enumerate();
            return Self::look_at(documents, md, pairs.map(|(at, (chain, key))| Source::Files(at, chain, key)), tell);
        }
        let specs = md.key_specs().0;
        Self::look_at(documents, md, specs.iter().map(Source::Stored), tell)
    }

    fn look_at<'a>(
        documents: &Documents,
        md: &ManagedDomain,
        sources: impl Iterator<Item = Source<'a>>,
        mut tell: impl FnMut(&Source<'a>, Found),
    ) -> Self {
        // Thousands of these live as long as the server: a vector that grows by pushing has room for four.
        let certificates = Vec::with_capacity(sources.size_hint().0);
        let mut set = Self { state: Some(State::Complete), certificates, ..Self::default() };
        for source in sources {
            let (checked, found) = match source.chain(documents, md) {
                Ok(chain) => {
                    let key = source.key(documents, md, &chain);
                    set.certificates.push(Some(chain.leaf().summary()));
                    (check(md, &source, &chain).and_then(|()| check_key(&source, &key)), Found::Chain(chain, key))
                }
                Err((state, reason)) => {
                    set.certificates.push(None);
                    let found = if state == State::Error { Found::Damaged(reason.clone()) } else { Found::Nothing };
                    (Err((state, reason)), found)
                }
            };
            if checked.is_err() {
                set.unfit.push(set.certificates.len() - 1);
            }
            if let (Err((state, reason)), Some(State::Complete)) = (checked, set.state) {
                (set.state, set.state_descr) = (Some(state), Some(reason));
            }
            tell(&source, found);
        }
        set
    }

    /// Whether there is a certificate at this position, and it does.
    #[must_use]
    pub(crate) fn is_good(&self, position: usize) -> bool {
        self.certificates.get(position).is_some_and(Option::is_some) && !self.unfit.contains(&position)
    }

    /// The certificates in the store, where the administrator's are served and ours are to be ready all the same.
    #[must_use]
    pub fn standby(documents: &Documents, md: &ManagedDomain) -> Option<Box<Self>> {
        (md.is_static() && md.renew_mode == RenewMode::Always).then(|| Box::new(Self::stored(documents, md)))
    }

    /// When each certificate is to be renewed, with the `MDRenewWindow` that is configured; `None` for one that is missing or does
    /// not do.
    #[must_use]
    pub fn plans(&self, configured: Option<Window>, advice: &Advice) -> Vec<Option<Plan>> {
        let plan = |(position, certificate): (usize, &Option<Summary>)| {
            let certificate = certificate.as_ref().filter(|_| !self.unfit.contains(&position))?;
            let suggested = advice.suggestion(certificate).map(|suggestion| suggestion.renew_at);
            Some(Plan::new(certificate.validity(), configured, suggested))
        };
        self.certificates.iter().enumerate().map(plan).collect()
    }

    /// When the first of them is to be renewed; `now` if one is missing or does not do.
    #[must_use]
    pub fn renew_at(&self, configured: Option<Window>, advice: &Advice, now: Timestamp) -> Timestamp {
        schedule::renew_at(&self.plans(configured, advice), now)
    }

    /// When the first of them gets into the window in which its end is warned of; `None` if the set is not complete.
    #[must_use]
    pub fn warn_at(&self, window: Option<Window>) -> Option<Timestamp> {
        let window = window.unwrap_or(Window::WARN);
        let validities = self.certificates.iter().flatten().map(Summary::validity);
        let opens = validities.map(|(from, until)| window.opens(from, until));
        opens.min().filter(|_| self.state == Some(State::Complete))
    }

    /// A number in 0..1 that is this set's own, by the fingerprint of its first certificate.
    #[must_use]
    pub fn chance(&self) -> f64 {
        let first = self.certificates.iter().flatten().next().map(Summary::sha256_fingerprint);
        let number = first.and_then(|print| u32::from_str_radix(print.get(..8)?, 16).ok());
        f64::from(number.unwrap_or(0)) / f64::from(u32::MAX)
    }

    /// Keeps only once what certificates of both sets have in common.
    pub(crate) fn share(&mut self, other: &Self) {
        let both = self.certificates.iter_mut().flatten().zip(other.certificates.iter().flatten());
        both.for_each(|(own, other)| own.share(other));
    }

    /// The span in which all certificates are good.
    #[must_use]
    pub fn common_validity(&self) -> Option<Validity> {
        common_validity(self.certificates.iter().map(Option::as_ref))
    }
}

/// When certificates of the domain were last put into the store, as far as the dates of its files tell.
pub(crate) fn activated(documents: &Documents, md: &ManagedDomain) -> Option<Timestamp> {
    let written = |spec| documents.store().modified(Group::Domains, md.name.as_str(), &Aspect::Chain(spec));
    md.key_specs().0.into_iter().filter_map(written).max()
}

/// Returns how long after their order these certificates are not renewed by time alone.
pub(crate) fn pause_after_order(certificates: &[Option<Summary>]) -> SignedDuration {
    let lives = certificates.iter().flatten().map(|own| own.validity().1.duration_since(own.validity().0));
    schedule::pause_after_order(lives.min().unwrap_or_default())
}

/// Returns when these certificates of the domain in the store were obtained, as far as their report tells; `None` if `MDRenewWindow`
/// makes them due in the first tenth of their life. An administrator who configures that gets a renewal at each start.
pub(crate) fn ordered(
    documents: &Documents,
    md: &ManagedDomain,
    certificates: &[Option<Summary>],
) -> Option<Timestamp> {
    let is_due_early =
        |window: Window, (from, until): Validity| window.opens(from, until) <= from + until.duration_since(from) / 10;
    let configured = md.configured_renew_window();
    if configured.is_some_and(|own| certificates.iter().flatten().any(|one| is_due_early(own, one.validity()))) {
        return None;
    }
    documents.load_json::<Job>(Group::Domains, md.name.as_str(), &Aspect::JobJson)?.ordered()
}

/// Reads what the renewal that brought the certificates of the domain has left to the next one, if its challenge types need that.
pub(crate) fn last_renewal(
    documents: &Documents,
    md: &ManagedDomain,
    challenges: &Result<Vec<ChallengeType>, String>,
) -> LastRenewal {
    let kinds = challenges.as_deref().unwrap_or_default();
    let needs_records = kinds.iter().any(|kind| kind.needs_standing_record());
    if kinds.len() < 2 && !needs_records {
        return LastRenewal::default();
    }
    let last: Option<LastRenewal> = documents.load_json(Group::Domains, md.name.as_str(), &Aspect::JobJson);
    let LastRenewal { txt_records, challenges } = last.unwrap_or_default();
    LastRenewal { txt_records: if needs_records { txt_records } else { Vec::new() }, challenges }
}

/// The span in which all of these are good; `None` if one is missing or there is no such span.
pub fn common_validity<'a>(certificates: impl Iterator<Item = Option<&'a Summary>>) -> Option<Validity> {
    let validities: Option<Vec<_>> = certificates.map(|cert| cert.map(Summary::validity)).collect();
    let common = validities?.into_iter().reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)))?;
    (common.0 < common.1).then_some(common)
}

impl Source<'_> {
    fn name(&self) -> String {
        match self {
            Self::Stored(spec) | Self::Told(spec, _) => spec.json_name().to_owned(),
            Self::Files(number, ..) => number.to_string(),
        }
    }

    fn chain(&self, documents: &Documents, md: &ManagedDomain) -> Result<Chain, (State, String)> {
        match self {
            Self::Stored(spec) => read_chain(documents, Group::Domains, md, spec),
            Self::Told(_, pem) => parse_chain(documents, Ok(pem.map(|pem| pem.as_bytes().to_vec())), &self.name()),
            Self::Files(_, chain, _) => parse_chain(documents, read_foreign(Path::new(chain)), &self.name()),
        }
    }

    /// Reads the key of the chain.
    fn key(&self, documents: &Documents, md: &ManagedDomain, chain: &Chain) -> FoundKey {
        let loaded = match self {
            Self::Stored(spec) => {
                documents.store().load(Group::Domains, md.name.as_str(), &Aspect::PrivateKey((*spec).clone()))
            }
            // It was looked at before it was put into its place.
            Self::Told(..) => return FoundKey::Fit(Zeroizing::default()),
            Self::Files(.., None) => return FoundKey::Nothing,
            Self::Files(.., Some(key)) => read_foreign(Path::new(key)),
        };
        let loaded = loaded.inspect_err(|err| report!(AH10110, err.status(); "{}: {err}", md.name));
        let Ok(Some(pem)) = loaded.map(|loaded| loaded.map(Zeroizing::new)) else { return FoundKey::Nothing };
        match key_fits(&pem, Some(documents.store().secret().as_bytes()), chain.leaf()) {
            None => FoundKey::Nothing,
            Some(false) => FoundKey::Unfit,
            Some(true) => FoundKey::Fit(pem),
        }
    }
}

/// Reads a chain; the error says what that makes of the domain.
pub(crate) fn read_chain(
    documents: &Documents,
    group: Group,
    md: &ManagedDomain,
    spec: &KeySpec,
) -> Result<Chain, (State, String)> {
    let pem = documents.store().load(group, md.name.as_str(), &Aspect::Chain(spec.clone()));
    parse_chain(documents, pem, spec.json_name())
}

fn parse_chain(
    documents: &Documents,
    pem: Result<Option<Vec<u8>>, StoreError>,
    name: &str,
) -> Result<Chain, (State, String)> {
    let missing = || (State::Incomplete, format!("certificate({name}) is missing"));
    let pem = match pem {
        Ok(pem) => pem.ok_or_else(missing)?,
        Err(err) => return Err((State::Error, err.to_string())),
    };
    match documents.chain(&pem) {
        Ok(chain) if chain.leaf().names().is_empty() => Err(missing()),
        Ok(chain) => Ok(chain),
        Err(ChainError::Empty) if pem.len() < DAMAGED_FROM => Err(missing()),
        Err(_) => Err((State::Error, "error initializing".to_owned())),
    }
}

fn check(md: &ManagedDomain, source: &Source<'_>, chain: &Chain) -> Result<(), (State, String)> {
    let leaf = chain.leaf();
    let name = || source.name();
    if !md.domains.iter().all(|domain| leaf.covers(domain)) {
        return Err((State::Incomplete, format!("certificate({}) does not cover all domains.", name())));
    }
    if leaf.must_staple() != md.must_staple {
        let (wanted, found) =
            if md.must_staple { ("is requested", "has it not") } else { ("is not requested", "has it") };
        return Err((
            State::Incomplete,
            format!("'must-staple' {wanted}, but certificate({}) {found} enabled.", name()),
        ));
    }
    Ok(())
}

/// Returns the reason why a certificate for a key type does not do for the domain; `None` if it does.
pub(crate) fn lack(md: &ManagedDomain, spec: &KeySpec, chain: &Chain) -> Option<String> {
    check(md, &Source::Stored(spec), chain).err().map(|(_, reason)| reason)
}

/// A certificate without its key is as good as none. A key of the administrator may have a pass phrase, which mod_ssl asks for.
fn check_key(source: &Source<'_>, key: &FoundKey) -> Result<(), (State, String)> {
    match (key, source) {
        (FoundKey::Fit(_), _) | (FoundKey::Nothing, Source::Files(..)) => Ok(()),
        _ => Err((State::Incomplete, format!("certificate({}) has no private key that fits.", source.name()))),
    }
}

/// Returns the pair that was found in the store.
pub(crate) fn stored_pair(source: &Source<'_>, found: Found) -> Option<StoredPair> {
    match (source, found) {
        (Source::Stored(spec), Found::Chain(chain, FoundKey::Fit(key))) => {
            Some(StoredPair { spec: (*spec).clone(), key, chain })
        }
        _ => None,
    }
}

/// Whether mod_ssl can start with what was found; if not, the reason is told.
pub(crate) fn is_usable(md: &ManagedDomain, source: &Source<'_>, found: &Found) -> bool {
    let name = source.name();
    match (found, source) {
        (Found::Chain(_, FoundKey::Fit(_)), _) | (Found::Chain(_, FoundKey::Nothing), Source::Files(..)) => {
            return true;
        }
        (Found::Chain(_, FoundKey::Unfit), _) => {
            report!(AH10110, "{}: private key({name}) does not fit the certificate", md.name);
        }
        (Found::Chain(_, FoundKey::Nothing), _) => {
            report!(AH10110, "{}: private key({name}) is missing or cannot be read", md.name);
        }
        (Found::Damaged(reason), _) => {
            report!(AH10110, "{}: certificate({name}) cannot be read: {reason}", md.name);
        }
        (Found::Nothing, Source::Files(_, chain, _)) => {
            report!(AH10110, "{}: there is no certificate in {chain}", md.name);
        }
        (Found::Nothing, _) => {}
    }
    false
}
