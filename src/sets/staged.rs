//! A renewal in `staging/`: its journal, and the proof that it is complete.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::choice::{Candidate, Staged};
use super::order;
use super::pairs::Pair;
use super::renewal_settings::RenewalSettings;
use super::served::read_chain;
use crate::acme::{ChainRefused, ChallengeSetup, Journal, OrderRecord, PortError};
use crate::clock::Clock;
use crate::crypto::{Certificate, Chain, PrivateKey, Summary};
use crate::documents::{Documents, KnownKey, port_error, to_json};
use crate::events::{About, Event, EventFailure, Events};
use crate::log::{note, report};
use crate::model::{ChallengeRecord, Job, KeySpec, ManagedDomain, TxtRecord, outside, time};
use crate::store::{Aspect, Group, StoreError, WorkClaim};

/// How long to wait for whoever looks at the domain when a command has ended. Nobody works on it: it is told of as finished.
const CLAIM_AGAIN: Duration = Duration::from_secs(10);

/// Progress is written at most this often.
const PROGRESS_INTERVAL: SignedDuration = SignedDuration::from_millis(500);

/// A certificate that is valid only after so long is a mistake; less may be a clock that is behind.
const FAR_AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// The journal of one domain's renewal, with the report on it.
pub struct StagedJournal {
    documents: Arc<Documents>,
    clock: Arc<dyn Clock>,
    md: Arc<ManagedDomain>,
    events: Events,
    /// The report.
    pub job: Job,
    saved: Option<Timestamp>,
    /// The private key that was used last.
    known_key: Option<KnownKey>,
    /// Set-ups that a command has just refused: it is not told that they are taken away.
    refused: HashSet<String>,
    /// Whether another renewal, or none, is staged by now: the report is not written.
    is_gone: bool,
}

/// Why a staged set cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unusable {
    /// A file is not there yet.
    #[error("{0}")]
    Incomplete(String),
    /// A file is there and is wrong.
    #[error("{0}")]
    Damaged(String),
}

/// Why it is not known for what something is staged.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is damaged.
    #[error("md.json cannot be read: {0}")]
    Damaged(#[from] serde_json::Error),
}

impl StagedJournal {
    /// Makes the journal of `md`, with the report that is stored. The caller has the claim on the staging directory.
    #[must_use]
    pub fn new(documents: Arc<Documents>, clock: Arc<dyn Clock>, md: Arc<ManagedDomain>, events: Events) -> Self {
        let job: Option<Job> = documents.load_json(Group::Staging, md.name.as_str(), &Aspect::JobJson);
        Self::with_report(documents, clock, md, events, job.unwrap_or_default())
    }

    /// Makes the journal of `md`, with the report that the caller has read. The caller has the claim on the staging directory.
    #[must_use]
    pub fn with_report(
        documents: Arc<Documents>,
        clock: Arc<dyn Clock>,
        md: Arc<ManagedDomain>,
        events: Events,
        job: Job,
    ) -> Self {
        let job = Job { name: md.name.to_string(), ..job };
        Self {
            documents,
            clock,
            md,
            events,
            job,
            saved: None,
            known_key: None,
            refused: HashSet::new(),
            is_gone: false,
        }
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &ManagedDomain {
        &self.md
    }

    /// Raises an event of the domain, with what it serves or, at the end of a renewal, will serve.
    ///
    /// # Errors
    /// If a command fails.
    pub fn raise(&mut self, event: Event<'_>, certificates: &[Option<Summary>]) -> Result<(), EventFailure> {
        let about = About { md: &self.md, certificates };
        self.events.raise(event, &about, &mut self.job, self.clock.now())
    }

    /// Raises the event that the renewal is over, and gives the claim up meanwhile: the command may have the server reload, and that
    /// start is to find the domain free to be activated. A mark in the report keeps others from telling the same. If the start
    /// has activated the domain, the report is not this journal's any more.
    ///
    /// # Errors
    /// If a command fails.
    pub fn raise_renewed(&mut self, claim: &mut Option<WorkClaim>) -> Result<(), EventFailure> {
        let certificates = facts(&self.documents, &self.md);
        let now = self.clock.now();
        let lease = now + self.events.longest();
        self.job.telling = Timestamp::from_second(lease.as_second()).ok();
        if !self.events.has_commands()
            || Event::Renewed.paused_until(&self.job, now).is_some()
            || self.show_job().is_err()
        {
            self.job.telling = None;
            return self.raise(Event::Renewed, &certificates);
        }
        *claim = None;
        let told = self.raise(Event::Renewed, &certificates);
        let store = self.documents.store();
        let name = self.md.name.as_str();
        *claim = store.claim_within(name, CLAIM_AGAIN).unwrap_or_default();
        let stored: Option<Job> =
            claim.as_ref().and_then(|_| self.documents.load_json(Group::Staging, name, &Aspect::JobJson));
        self.is_gone = stored.is_none_or(|stored| stored.telling != self.job.telling);
        self.job.telling = None;
        if self.is_gone {
            note!(Info, "{name}: what commands were told of is activated, or begun anew");
        }
        told
    }

    /// Whether what is staged has been activated, or begun anew, while commands were told of it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Writes the report before commands are told, who may look and take their time.
    pub fn save_for_commands(&mut self) {
        if self.events.has_commands() {
            // It is written once more after them, with its errors.
            let _ = self.show_job();
        }
    }

    /// Writes the report so that it outlasts a power failure, as a plan for the next attempt has to.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_job(&mut self) -> Result<(), PortError> {
        if self.is_gone {
            return Ok(());
        }
        self.saved = Some(self.clock.now());
        self.documents.save_json(Group::Staging, self.md.name.as_str(), &Aspect::JobJson, &self.job)
    }

    /// Writes the report without waiting for the disk. If a power failure damages it, the renewal goes on from what is staged.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn show_job(&mut self) -> Result<(), PortError> {
        if self.is_gone {
            return Ok(());
        }
        self.saved = Some(self.clock.now());
        self.documents.save_json_lazily(Group::Staging, self.md.name.as_str(), &Aspect::JobJson, &self.job)
    }

    /// Goes on with what is staged if that was `begun` for the same settings, or starts anew. An account that waits here for the
    /// next start stays, and so does the memory of what commands have set up for the `order`.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn open(&mut self, begun: Option<&ManagedDomain>, order: &OrderRecord) -> Result<(), PortError> {
        let own = RenewalSettings::of(&self.md);
        match begun.filter(|begun| RenewalSettings::of(begun).order_serves(&own)) {
            Some(begun) if *begun == *self.md => Ok(()),
            Some(_) => self.save_md(),
            None => self.start_over(order),
        }
    }

    /// Drops what is staged, except for what [`StagedJournal::open`] keeps.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn start_over(&mut self, order: &OrderRecord) -> Result<(), PortError> {
        order::remove_files(&self.documents, &order.challenge_setups)?;
        self.save_order(&order::left_over(order))?;
        let specs = self.md.key_specs().0;
        let keys = specs.iter().flat_map(|spec| [Aspect::PrivateKey(spec.clone()), Aspect::Chain(spec.clone())]);
        for aspect in keys {
            self.documents.store().remove(Group::Staging, self.md.name.as_str(), &aspect).map_err(port_error)?;
        }
        self.save_md()
    }

    /// Saves the domain. Saving the private key makes it last.
    fn save_md(&self) -> Result<(), PortError> {
        let name = self.md.name.as_str();
        let text = to_json(&*self.md)?;
        self.documents.store().save_unsettled(Group::Staging, name, &Aspect::MdJson, &text).map_err(port_error)
    }
}

/// The domain as `md.json` in `staging/` has it; `None` if nothing was begun there, or not for a CA.
///
/// # Errors
/// If the file is there and cannot be read: nothing that is staged beside it can be used.
pub fn begun_as(documents: &Documents, name: &str) -> Result<Option<ManagedDomain>, Unreadable> {
    let Some(text) = documents.store().load(Group::Staging, name, &Aspect::MdJson)? else { return Ok(None) };
    let begun: ManagedDomain = outside::stored(&text)?;
    Ok(Some(begun).filter(|begun| begun.ca.url.is_some()))
}

/// Whether there is a certificate for each of these types of key, and verifies.
#[must_use]
pub fn is_complete(documents: &Documents, md: &ManagedDomain, keys: &[KeySpec], now: Timestamp) -> bool {
    keys.iter().all(|spec| verified(documents, md, spec, now).is_ok())
}

/// The report on what is staged; `None` if there is none, or if it tells of an end that the files do not bear out.
#[must_use]
pub fn report(documents: &Documents, md: &ManagedDomain) -> Option<Job> {
    let job: Job = documents.load_json(Group::Staging, md.name.as_str(), &Aspect::JobJson)?;
    let job = job.with_problem();
    // These are for the next attempt only, and for what goes live.
    let job = Job {
        name: md.name.to_string(),
        settings: None,
        telling: None,
        validation_failures: Vec::new(),
        challenges: ChallengeRecord::default(),
        account_url: None,
        refused_replacements: Vec::new(),
        ..job
    };
    (!job.finished || is_whole(documents, md)).then_some(job)
}

/// Whether there is a certificate, and a certificate for each key: types that did not need one have neither.
fn is_whole(documents: &Documents, md: &ManagedDomain) -> bool {
    let exists = |aspect: &Aspect| documents.store().exists(Group::Staging, md.name.as_str(), aspect);
    let keys = md.key_specs().0.into_iter().map(Aspect::PrivateKey);
    let certificates = facts(documents, md);
    let mut pairs = keys.zip(&certificates);
    matches!(begun_as(documents, md.name.as_str()), Ok(Some(_)))
        && certificates.iter().any(Option::is_some)
        && pairs.all(|(key, certificate)| exists(&key) == certificate.is_some())
}

/// Reads a staged certificate and its key and checks that they are what the domain needs: they fit each other, the
/// names are there and must-staple is as wanted, it has not expired and is not for a far future.
///
/// # Errors
/// What is missing or wrong.
pub fn verified(documents: &Documents, md: &ManagedDomain, spec: &KeySpec, now: Timestamp) -> Result<Pair, Unusable> {
    let chain = match read_chain(documents, Group::Staging, md, spec) {
        Ok(chain) => chain,
        Err((crate::model::State::Incomplete, reason)) => return Err(Unusable::Incomplete(reason)),
        Err((_, reason)) => return Err(Unusable::Damaged(reason)),
    };
    let name = spec.json_name();
    let aspect = Aspect::PrivateKey(spec.clone());
    let key = documents.load_key(Group::Staging, md.name.as_str(), &aspect).ok_or_else(|| {
        if documents.store().exists(Group::Staging, md.name.as_str(), &aspect) {
            Unusable::Damaged(format!("private key({name}) cannot be read"))
        } else {
            Unusable::Incomplete(format!("private key({name}) is missing"))
        }
    })?;
    verify(md, spec, &key, &chain, now).map_err(Unusable::Damaged)?;
    Ok(Pair { spec: spec.clone(), key, chain })
}

/// Reads the outcome of a renewal for a key type. With `is_finished` nothing more is to come.
pub(crate) fn outcome(
    documents: &Documents,
    md: &ManagedDomain,
    spec: &KeySpec,
    is_finished: bool,
    now: Timestamp,
) -> Staged<Pair> {
    match verified(documents, md, spec, now) {
        // Where one was issued at the same moment, this one was written later.
        Ok(pair) => Staged::Brought(Candidate::of(pair, Some(Timestamp::MAX))),
        Err(Unusable::Damaged(reason)) => Staged::Damaged(reason),
        Err(Unusable::Incomplete(reason)) if is_finished => Staged::LeftOut(reason),
        Err(Unusable::Incomplete(reason)) => Staged::Awaited(reason),
    }
}

pub(crate) fn verify(
    md: &ManagedDomain,
    spec: &KeySpec,
    key: &PrivateKey,
    chain: &Chain,
    now: Timestamp,
) -> Result<(), String> {
    let leaf = chain.leaf();
    let name = spec.json_name();
    chain.check().map_err(|err| format!("certificate({name}): {err}"))?;
    if !key.fits(leaf) {
        return Err(format!("certificate({name}) and private key do not match"));
    }
    if let Some(missing) = md.domains.iter().find(|domain| !leaf.covers(domain)) {
        return Err(format!("certificate({name}) is not for {missing}"));
    }
    if leaf.not_after() <= now {
        return Err(format!("certificate({name}) has expired"));
    }
    if leaf.not_before() > now + FAR_AHEAD {
        return Err(format!("certificate({name}) is not valid before {}", time::format_gmt(leaf.not_before())));
    }
    match (md.must_staple, leaf.must_staple()) {
        (true, false) => Err(format!("certificate({name}) lacks the 'must-staple' that MDMustStaple asks for")),
        (false, true) => Err(format!("certificate({name}) has 'must-staple', which MDMustStaple does not ask for")),
        _ => Ok(()),
    }
}

/// Summaries of the staged certificates, one entry per key type.
#[must_use]
pub fn facts(documents: &Documents, md: &ManagedDomain) -> Vec<Option<Summary>> {
    summaries_in(documents, Group::Staging, md)
}

/// Summaries of the certificates of a group, one entry per key type.
#[must_use]
pub fn summaries_in(documents: &Documents, group: Group, md: &ManagedDomain) -> Vec<Option<Summary>> {
    leaves_in(documents, group, md).iter().map(|leaf| leaf.as_ref().map(Certificate::summary)).collect()
}

/// The certificates that are staged, one entry per key type.
#[must_use]
pub fn leaves(documents: &Documents, md: &ManagedDomain) -> Vec<Option<Certificate>> {
    leaves_in(documents, Group::Staging, md)
}

fn leaves_in(documents: &Documents, group: Group, md: &ManagedDomain) -> Vec<Option<Certificate>> {
    let read = |spec: &KeySpec| read_chain(documents, group, md, spec).ok().map(|chain| chain.leaf().clone());
    md.key_specs().0.iter().map(read).collect()
}

impl Journal for StagedJournal {
    fn order(&self) -> OrderRecord {
        order::load(&self.documents, &self.md)
    }

    fn save_order(&mut self, order: &OrderRecord) -> Result<(), PortError> {
        order::save(&self.documents, self.md.name.as_str(), order)
    }

    fn key(&mut self, spec: &KeySpec) -> Option<PrivateKey> {
        let aspect = Aspect::PrivateKey(spec.clone());
        let name = self.md.name.as_str();
        let key = self.documents.load_known_key(Group::Staging, name, &aspect, &mut self.known_key);
        key.filter(|key| key.fits_spec(spec))
    }

    fn save_key(&mut self, spec: &KeySpec, key: &PrivateKey) -> Result<(), PortError> {
        let aspect = Aspect::PrivateKey(spec.clone());
        self.known_key = Some(self.documents.save_key(Group::Staging, self.md.name.as_str(), &aspect, key)?);
        Ok(())
    }

    fn has_chain(&self, spec: &KeySpec) -> bool {
        verified(&self.documents, &self.md, spec, self.clock.now()).is_ok()
    }

    fn save_chain(&mut self, spec: &KeySpec, chain: &Chain) -> Result<(), ChainRefused> {
        let unusable = |reason| ChainRefused::Unfit(format!("the CA's {reason}"));
        let key =
            self.key(spec).ok_or_else(|| unusable(format!("certificate({}) has no key here", spec.json_name())))?;
        verify(&self.md, spec, &key, chain, self.clock.now()).map_err(unusable)?;
        let aspect = Aspect::Chain(spec.clone());
        let name = self.md.name.as_str();
        Ok(self.documents.store().save(Group::Staging, name, &aspect, &chain.to_pem()).map_err(port_error)?)
    }

    fn may_replace(&self, certificate: &str) -> bool {
        !self.job.refused_replacements.iter().any(|refused| refused == certificate)
    }

    fn set_may_replace(&mut self, certificate: &str, may: bool) {
        let refused = &mut self.job.refused_replacements;
        refused.retain(|own| own != certificate);
        refused.extend((!may).then(|| certificate.to_owned()));
        // The next attempt asks the CA once more if this is lost.
        let _ = self.show_job();
    }

    fn challenge_record(&self) -> ChallengeRecord {
        self.job.challenges.clone()
    }

    fn record_challenges(&mut self, record: &ChallengeRecord) {
        self.job.challenges.clone_from(record);
    }

    fn progress(&mut self, activity: &str) {
        let now = self.clock.now();
        self.job.proceed(now, activity);
        if self.saved.is_none_or(|saved| now.duration_since(saved) >= PROGRESS_INTERVAL) {
            // The report is for those who watch; a renewal does not fail for it.
            let _ = self.show_job();
        }
    }

    fn lasting_progress(&mut self, activity: &str) {
        self.saved = None;
        self.progress(activity);
    }

    fn needs_records(&mut self, records: &[TxtRecord]) {
        for TxtRecord { name, value } in records.iter().filter(|record| !self.job.txt_records.contains(record)) {
            report!(MD0044, "{}: needs this TXT record for dns-persist-01: {name} '{value}'", self.md.name);
        }
        self.job.txt_records = records.to_vec();
    }

    fn challenge_in_place(&mut self, set_up: &ChallengeSetup) -> Result<(), PortError> {
        let told = self.raise(Event::ChallengeSetUp(set_up), &[]);
        if told.as_ref().is_err_and(|err| !err.is_cancelled()) {
            self.refused.insert(set_up.to_string());
        }
        Ok(told?)
    }

    fn challenge_taken_away(&mut self, set_up: &ChallengeSetup) -> Result<(), PortError> {
        if self.refused.remove(&set_up.to_string()) {
            return Ok(());
        }
        match self.raise(Event::ChallengeTearDown(set_up), &[]) {
            Err(err) if err.is_cancelled() => Err(err.into()),
            _ => Ok(()),
        }
    }
}
