//! One domain's renewal from its claim to its report.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::tailscale::Tailnet;
use crate::accounts::StoredAccounts;
use crate::acme::{AccountRecord, AccountScope, AcmeError, PortError};
use crate::cancel::Cancel;
use crate::challenges::StoredChallenges;
use crate::crypto::Summary;
use crate::events::Event;
use crate::http::HttpClient;
use crate::issuance::{Driver, Outcome, Replaces, Wanted};
use crate::live::Published;
use crate::log::{note, report};
use crate::model::{Authorities, Globals, Job, JobResult, KeySpec, ManagedDomain, Next, State, format_human, time};
use crate::registry::{Domain, NextCa, Registry, next_ca};
use crate::schedule;
use crate::schedule::AUTOMATIC_VALIDATION_FAILURES;
use crate::sets::{Advice, PairSet, StagedJournal, staged};
use crate::stapling::Unstapled;
use crate::store::{Aspect, Group, WorkClaim};

use crate::documents::port_error;

/// When to look again at a domain of which a command is told by another process.
const TOLD_ELSEWHERE: SignedDuration = SignedDuration::from_secs(1);

/// A renewal that was begun, with the exclusive right to the domain's staging directory.
pub struct Renewal {
    position: usize,
    md: Arc<ManagedDomain>,
    registry: Arc<Registry>,
    work: Work,
    /// What is remembered of its CAs.
    known: Authorities,
    /// When the last step was taken.
    stepped: Timestamp,
    cancel: Cancel,
    /// Dropped after everything else. `None` when somebody else took it while commands were told of the end.
    claim: Option<WorkClaim>,
}

/// Who does the work.
#[allow(clippy::large_enum_variant, reason = "a renewal is in a box as a whole")]
enum Work {
    /// A CA.
    Acme(Driver<StagedJournal, StoredChallenges>),
    /// The daemon on this machine.
    Tailscale(Tailnet),
}

impl Work {
    fn journal(&mut self) -> &mut StagedJournal {
        match self {
            Self::Acme(driver) => driver.journal(),
            Self::Tailscale(tailnet) => &mut tailnet.journal,
        }
    }

    fn acme(&mut self) -> Option<&mut Driver<StagedJournal, StoredChallenges>> {
        match self {
            Self::Acme(driver) => Some(driver),
            Self::Tailscale(_) => None,
        }
    }
}

/// What came of the attempt to begin.
pub enum Begun {
    /// It can go on.
    Renewal(Box<Renewal>),
    /// All that is needed is staged already.
    Complete,
    /// The same, and it is told at that time.
    CompleteFrom(Timestamp),
    /// Nothing is due any more.
    NotDue,
    /// Somebody else has renewed the domain: this server uses that after its next restart.
    RenewedElsewhere,
    /// A command denies it this time.
    Denied,
    /// Another process works on the domain.
    ClaimedElsewhere,
}

/// How a renewal ended.
pub enum Ended {
    /// Everything is staged.
    Done,
    /// It failed.
    Failed(AcmeError),
    /// This process stops.
    Cancelled,
}

impl Renewal {
    /// Begins, or goes on with what is staged. Commands end when `cancel` says so. With `only_if_due` nothing begins where
    /// somebody else has renewed the domain since it came due. Without it all types of key are renewed, and what is staged counts
    /// only if it is not served yet.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn begin(
        position: usize,
        domain: &Domain,
        registry: &Arc<Registry>,
        accounts: Arc<StoredAccounts>,
        http: Arc<dyn HttpClient>,
        only_if_due: bool,
        cancel: &Cancel,
    ) -> Result<Begun, PortError> {
        let md = &domain.md;
        let mut claim = registry.documents.store().claim(md.name.as_str()).map_err(port_error)?;
        if claim.is_none() {
            return Ok(Begun::ClaimedElsewhere);
        }
        registry.live_sets.look_for(position);
        let now = registry.clock.now();
        let next_ca = NextCa::read(&registry.documents, md);
        let next = next_ca.next(md, registry.globals.retry_failover, now);
        let url = next.map(|next| next.url);
        // Where it goes without saying, the report is the one that the C module writes.
        let ca_url = url.clone().filter(|url| md.ca.urls.len() > 1 || md.ca.url.as_ref() != Some(url));
        let md = url.map_or_else(|| Arc::clone(md), |url| next_ca::at_ca(md, &url));
        let mut journal = StagedJournal::new(
            Arc::clone(&registry.documents),
            Arc::clone(&registry.clock),
            Arc::clone(&md),
            registry.events(cancel),
        );
        let advice = Advice::load(&registry.documents, &md);
        let is_due = !only_if_due || domain.renew_at(&advice, now) <= now;
        if !(is_due || journal.job.finished) {
            return Ok(Begun::NotDue);
        }
        if registry.runs_commands && journal.job.telling.is_some_and(|until| until > now) {
            // A child of the generation before waits for a command.
            return Ok(Begun::CompleteFrom(now + TOLD_ELSEWHERE));
        }
        let may_be_elsewhere = only_if_due && is_due && !journal.job.finished;
        if let Some(set) = may_be_elsewhere.then(|| registry.renewed_elsewhere(domain, &advice, now)).flatten() {
            ask_for_restart(position, &set.certificates, registry, &md);
            return Ok(Begun::RenewedElsewhere);
        }
        journal.open()?;
        let keys = if only_if_due { domain.keys_to_renew(&advice, now) } else { md.key_specs().0 };
        let is_finished = journal.job.finished;
        let is_live = is_finished && domain.has_nothing_new_in(&staged::leaves(&registry.documents, &md));
        if is_live && (!only_if_due || domain.renew_at(&advice, now) <= now) {
            // As after an activation.
            journal.start_over()?;
            journal.job = Job::new(md.name.as_str());
        } else if is_live || is_finished && staged::is_complete(&registry.documents, &md, &keys, now) {
            let live_at = go_live(position, &mut journal, registry, cancel, now);
            if !journal.job.notified_renewed && journal.job.next_run.is_none_or(|at| at <= now) {
                tell_renewed(&mut journal, &mut claim, registry, now);
                journal.save_job()?;
            }
            restart_for_staged(position, &journal, registry, now);
            let again = journal.job.next_run.filter(|_| !journal.job.notified_renewed);
            let again = [again, live_at].into_iter().flatten().min();
            return Ok(again.map_or(Begun::Complete, Begun::CompleteFrom));
        }
        if !is_due {
            return Ok(Begun::NotDue);
        }
        tell_why(domain, &advice, now);
        if let Err(denial) = journal.raise(Event::Renewing, &domain.served().certificates) {
            if !denial.is_cancelled() {
                report!(AH10060, "{}: the renewal is denied and not tried now: {}", md.name, denial.text);
                journal.job.last = Some(denial.to_result());
                warn(domain, &mut journal, registry, now);
                journal.save_job()?;
            }
            return Ok(Begun::Denied);
        }
        journal.job = Job {
            ca_url,
            finished: false,
            notified: false,
            notified_renewed: false,
            next_run: None,
            // It has passed, or was another CA's.
            retry_after: None,
            ..journal.job
        };
        if journal.job.txt_records.is_empty() {
            journal.job.txt_records.clone_from(&domain.txt_records);
        }
        journal.job.last_run = Some(now);
        journal.job.record(now, "starting", None, None);
        journal.save_job()?;
        let publisher = StoredChallenges::new(Arc::clone(&registry.challenges), Arc::clone(&md), cancel);
        let clock = Arc::clone(&registry.clock);
        let wanted = wanted(domain, &md, keys, replaces(domain, &md, registry), &registry.globals);
        let work = if md.is_of_tailscale() {
            let known = domain.own_certificates().map(|own| own.sha256_fingerprint()).collect();
            Work::Tailscale(Tailnet { journal, http, clock, known })
        } else {
            Work::Acme(Driver::new(wanted, journal, publisher, accounts, http, clock))
        };
        Ok(Begun::Renewal(Box::new(Self {
            position,
            md,
            registry: Arc::clone(registry),
            work,
            known: next_ca.known,
            stepped: now,
            cancel: cancel.clone(),
            claim,
        })))
    }

    /// Position of the domain in the registry.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Directory URL of the CA that it goes to.
    #[must_use]
    pub fn ca_url(&self) -> &str {
        self.md.ca_url().unwrap_or_default()
    }

    /// Gives it a nonce of its CA to begin with.
    pub fn set_nonce(&mut self, nonce: Option<String>) {
        if let Some(driver) = self.work.acme() {
            driver.set_nonce(nonce);
        }
    }

    /// A nonce that is not used.
    pub fn take_nonce(&mut self) -> Option<String> {
        self.work.acme()?.take_nonce()
    }

    /// What is being done.
    pub fn activity(&mut self) -> Option<&str> {
        self.work.journal().job.last.as_ref()?.activity.as_deref()
    }

    /// Whether it is earlier now than at the last step. What was planned in between is of no use then; the same renewal,
    /// begun again, goes on.
    #[must_use]
    pub fn clock_was_put_back(&self) -> bool {
        self.registry.clock.now() < self.stepped
    }

    /// Takes one step.
    ///
    /// # Errors
    /// If the renewal is over without success.
    pub fn step(&mut self) -> Result<Outcome, AcmeError> {
        self.stepped = self.registry.clock.now();
        match &mut self.work {
            Work::Acme(driver) => driver.step(),
            Work::Tailscale(tailnet) => tailnet.run().map(|()| Outcome::Done),
        }
    }

    /// Writes the report. Returns when to look at the domain again; `None` for the usual time. `delay` says how long
    /// to wait after so many failures, of which the last is permanent or not.
    pub fn end(&mut self, ended: Ended, delay: impl Fn(u32, bool) -> SignedDuration) -> Option<Timestamp> {
        let now = self.registry.clock.now();
        let is_done = matches!(ended, Ended::Done);
        let look = match ended {
            Ended::Done => self.succeeded(now),
            Ended::Failed(err) => Some(self.failed(&err, now, delay)),
            Ended::Cancelled => {
                note!(Debug, "{}: the renewal is interrupted and goes on later", self.md.name);
                None
            }
        };
        if let Err(err) = self.work.journal().save_job() {
            note!(Error, err.status; "{}: the report of the renewal cannot be written: {err}", self.md.name);
        }
        if is_done {
            restart_for_staged(self.position, self.work.journal(), &self.registry, now);
        }
        look
    }

    /// Returns when the administrator is to be told, or the certificates go live, if that is not at once.
    fn succeeded(&mut self, now: Timestamp) -> Option<Timestamp> {
        let facts = staged::facts(&self.registry.documents, &self.md);
        let valid_from = facts.iter().flatten().map(|facts| facts.validity().0).max().unwrap_or(now);
        let domain = &self.registry.domains[self.position];
        let is_live = self.registry.live_sets.goes_live(self.position);
        let account_url =
            self.work.acme().and_then(|driver| driver.account()).filter(|_| is_live).map(|account| account.url.clone());
        let ready_at = valid_from.max(now) + activation_delay(domain, self.registry.globals.activation_delay, now);
        let is_ready = ready_at <= now;
        let valid_from = if is_ready { valid_from } else { ready_at };
        let usable = if !is_ready {
            format!("can be used from {} on", time::format_gmt(valid_from))
        } else {
            let advice = match is_live {
                true => "No server restart is needed",
                false => "A graceful server restart now is recommended",
            };
            format!("can be used (valid since {}). {advice}.", time::format_gmt(valid_from))
        };
        let detail = format!("The certificate for the managed domain has been renewed successfully and {usable}");
        let journal = self.work.journal();
        let job = &mut journal.job;
        job.finished = true;
        job.errors = 0;
        job.account_url = account_url.or(job.account_url.take()).filter(|_| is_live);
        job.next_run = (!is_ready).then_some(ready_at);
        job.settings = None;
        job.validation_failures.clear();
        job.authorities = Authorities::default();
        job.valid_from = Some(valid_from);
        job.record(now, "finished", None, Some(&detail));
        job.last = Some(JobResult { detail: Some(detail), valid_from: Some(valid_from), ..JobResult::default() });
        let mut live_at = None;
        if is_ready {
            live_at = go_live(self.position, journal, &self.registry, &self.cancel, now);
            journal.save_for_commands();
            tell_renewed(journal, &mut self.claim, &self.registry, now);
        }
        [journal.job.next_run, live_at].into_iter().flatten().min()
    }

    fn failed(&mut self, err: &AcmeError, now: Timestamp, delay: impl Fn(u32, bool) -> SignedDuration) -> Timestamp {
        let name = self.md.name.clone();
        let domain = &self.registry.domains[self.position];
        let settings = settings(domain, &self.registry.globals);
        let journal = self.work.journal();
        let job = &mut journal.job;
        let activity = job.last.take().and_then(|last| last.activity);
        let result = JobResult { activity, ..err.to_result() };
        let detail = result.detail.clone().unwrap_or_default();
        job.errors = job.errors.saturating_add(1);
        let (url, failover) = (self.md.ca_url().unwrap_or_default(), self.registry.globals.retry_failover);
        self.known.failed(url, err.retry_after(), failover, now);
        let then = self.known.next(&self.md.ca.urls, failover, now);
        let then = then.unwrap_or_else(|| Next { url: url.to_owned(), failures: job.errors, retry_after: None });
        let is_permanent = err.is_permanent() && then.url == url;
        job.retry_after = then.retry_after;
        let delay = delay(then.failures.max(1), is_permanent);
        let delay = domain.delay_for_short_life(delay, is_permanent, self.registry.globals.retry_delay, now);
        let mut next = (now + delay).max(job.retry_after.unwrap_or(now));
        if err.is_failed_validation() {
            job.validation_failures = schedule::recent(&job.validation_failures, now);
            job.validation_failures.push(now);
            let floor = schedule::validation_floor(&job.validation_failures, AUTOMATIC_VALIDATION_FAILURES, now);
            next = next.max(floor.unwrap_or(now));
        }
        job.next_run = Some(next);
        if self.md.ca.urls.len() > 1 {
            job.authorities = self.known.clone();
        }
        job.settings = Some(settings);
        job.record(now, "renewal-error", result.problem.as_deref(), Some(&detail));
        report!(AH10056, err.status(); "processing {name}: {}", result.to_log(name.as_str()));
        tell_next(job, next, now);
        if then.url != url {
            report!(MD0016, "{name}: {url} has had its turn, the next attempt is at {}", then.url);
        }
        job.last = Some(result);
        journal.save_for_commands();
        // That one of them fails too hides neither the reason nor the time of the next attempt.
        let _ = journal.raise(Event::Errored, &domain.served().certificates);
        warn(domain, journal, &self.registry, now);
        let warn_at = domain.warn_at(&journal.job, self.registry.globals.retry_delay, now);
        next.min(warn_at.unwrap_or(next))
    }
}

fn tell_next(job: &Job, next: Timestamp, now: Timestamp) {
    report!(
        AH10057,
        "{}: encountered error for the {}. time, next run in {}",
        job.name,
        job.errors,
        format_human(next.duration_since(now))
    );
}

/// Has the server use what is staged, if it is to do so without a start. What is served stays if that fails, and the next start
/// uses what is staged. Returns when to try again, if something may have changed by then.
fn go_live(
    position: usize,
    journal: &mut StagedJournal,
    registry: &Registry,
    cancel: &Cancel,
    now: Timestamp,
) -> Option<Timestamp> {
    // A server has a staple for what goes live; a program beside it has none, and leaves to it what must not be without.
    if !registry.live_sets.goes_live(position) || !registry.runs_commands && journal.domain().must_staple {
        return None;
    }
    let name = journal.domain().name.clone();
    // It tells that the renewal has ended.
    if let Err(err) = journal.save_job() {
        report!(MD0035, err.status; "{name}: goes live at the next start only: {err}");
        return None;
    }
    let domain = &registry.domains[position];
    let staple = |pair_set: &PairSet| {
        registry.stapling.fetch_before_live(&domain.md, pair_set.pairs.iter().map(|pair| &pair.chain), cancel)
    };
    match registry.live_sets.publish(position, &domain.at_start, now, staple) {
        Ok(Published::Live(certificates)) => {
            report!(MD0036, "{name}: its new certificates are live");
            // That a command fails does not make them less live, and is in the log.
            let _ = journal.raise(Event::Activated, &certificates.into_iter().map(Some).collect::<Vec<_>>());
        }
        Ok(Published::Nothing | Published::NotBefore(_) | Published::Unstapled(Unstapled::Cancelled)) => {}
        Ok(Published::Unstapled(lack @ Unstapled::NoResponse { failures, .. })) => {
            let next = now + schedule::back_off(failures, false, registry.globals.retry_delay, 0.5);
            let at = time::format_gmt(next);
            report!(MD0037, "{name}: what is staged does not go live yet: {lack}; next attempt at {at}");
            return Some(next);
        }
        Ok(Published::Unstapled(lack @ Unstapled::Off)) => {
            report!(MD0037, "{name}: what is staged goes live at the next start only: {lack}");
        }
        Ok(Published::Incomplete(reason) | Published::Unusable(reason)) => {
            report!(MD0035, "{name}: what is staged does not go live: {reason}");
        }
        Err(err) => report!(MD0035, err.status; "{name}: goes live at the next start only: {err}"),
    }
    None
}

/// Has the server restart itself for what is staged, if it is to do so and the time has come. Nothing of the renewal is left to
/// be done then.
fn restart_for_staged(position: usize, journal: &StagedJournal, registry: &Registry, now: Timestamp) {
    if !journal.is_gone() && journal.job.valid_from.is_none_or(|at| at <= now) {
        ask_for_restart(position, &staged::facts(&registry.documents, journal.domain()), registry, journal.domain());
    }
}

fn ask_for_restart(position: usize, new: &[Option<Summary>], registry: &Registry, md: &ManagedDomain) {
    let prints = || new.iter().flatten().map(Summary::sha256_fingerprint).collect();
    if registry.domains[position].restarts() && registry.restarts.ask(position, prints()) {
        note!(Info, "{}: its new certificates wait for the server to restart itself", md.name);
    }
}

/// Tells that there are new certificates. If a command fails it is told again, and the certificates are as good as before.
fn tell_renewed(journal: &mut StagedJournal, claim: &mut Option<WorkClaim>, registry: &Registry, now: Timestamp) {
    let told = journal.raise_renewed(claim);
    if journal.is_gone() {
        return;
    }
    let job = &mut journal.job;
    match told {
        Ok(()) => {
            (job.notified, job.notified_renewed, job.next_run, job.errors) = (true, true, None, 0);
            let domains = job.log.iter().flat_map(|log| &log.entries);
            let detail =
                domains.into_iter().find(|domain| domain.kind == "finished").and_then(|domain| domain.detail.clone());
            job.last = Some(JobResult { detail, valid_from: job.valid_from, ..JobResult::default() });
        }
        Err(err) if err.is_cancelled() => {}
        Err(err) => {
            job.errors = job.errors.saturating_add(1);
            let next = now + schedule::back_off(job.errors, false, registry.globals.retry_delay, 0.5);
            (job.next_run, job.last) = (Some(next), Some(err.to_result()));
            tell_next(job, next, now);
        }
    }
}

/// Tells that the end of what is served is near, if that is so and was not told today. Whatever comes of it, the renewal is
/// where it was.
fn warn(domain: &Domain, journal: &mut StagedJournal, registry: &Registry, now: Timestamp) {
    let at = domain.warn_at(&journal.job, registry.globals.retry_delay, now);
    if at.is_some_and(|at| at <= now) {
        let _ = journal.raise(Event::Expiring, &domain.served().certificates);
    }
}

/// Warns of the end of a domain's certificates where no renewal of it is under way; `false` if another process works on it.
///
/// # Errors
/// If the report cannot be written.
pub(crate) fn warn_of(domain: &Domain, registry: &Registry, cancel: &Cancel) -> Result<bool, PortError> {
    let Some(_claim) = registry.documents.store().claim(domain.md.name.as_str()).map_err(port_error)? else {
        return Ok(false);
    };
    let (documents, clock) = (Arc::clone(&registry.documents), Arc::clone(&registry.clock));
    let mut journal = StagedJournal::new(documents, clock, Arc::clone(&domain.md), registry.events(cancel));
    let before = journal.job.clone();
    warn(domain, &mut journal, registry, registry.clock.now());
    if journal.job == before { Ok(true) } else { journal.save_job().map(|()| true) }
}

/// How long after a renewal the administrator is told of it, so that the certificates are activated later: at most half of
/// what is left of those that are served. While there are none that do, it is at once.
fn activation_delay(domain: &Domain, configured: SignedDuration, now: Timestamp) -> SignedDuration {
    let served = domain.served();
    let until = served.common_validity().map(|(_, until)| until).filter(|until| *until > now);
    match until {
        Some(until) if served.state == Some(State::Complete) => {
            configured.min(until.duration_since(now) / 2).max(SignedDuration::ZERO)
        }
        _ => SignedDuration::ZERO,
    }
}

/// Tells why a renewal begins: because of what is there, or because the CA suggests it.
fn tell_why(domain: &Domain, advice: &Advice, now: Timestamp) {
    let name = domain.md.name.as_str();
    if domain.is_revoked() {
        return report!(AH10500, "{name}: is renewed, as OCSP says that its certificate is revoked");
    }
    if domain.renew_at(&Advice::default(), now) <= now {
        return report!(AH10512, "{name}: its renewal is due");
    }
    if let Some(suggestion) = advice.earliest(domain.own_certificates()).filter(|own| own.renew_at <= now) {
        suggestion.tell_now(name);
    }
}

/// The certificates that a renewal takes the place of, if the CA may know of it: one that did not issue them, or did it
/// for another account, refuses.
fn replaces(domain: &Domain, md: &ManagedDomain, registry: &Registry) -> Option<Replaces> {
    if !md.ari_renewals || domain.issuer().as_deref() != md.ca_url() {
        return None;
    }
    let account_url = match domain.went_live() {
        Some(live) => live.account_url.clone()?,
        None => {
            let id = domain.issued_by.account.as_deref()?;
            registry.documents.load_json::<AccountRecord>(Group::Accounts, id, &Aspect::AccountJson)?.url
        }
    };
    let certificates = md.key_specs().0.into_iter().zip(domain.certificates());
    let certificates =
        certificates.filter_map(|(spec, certificate)| Some((spec, certificate.as_ref()?.ari_cert_id()?)));
    Some(Replaces { account_url, certificates: certificates.collect() })
}

/// Stands for the settings, from wherever they come, that may decide whether a renewal succeeds, beside what is ordered
/// and where. Other settings give another text, and so may another release: the domain is tried once more then.
pub(crate) fn settings(domain: &Domain, globals: &Globals) -> String {
    let (md, mut hasher) = (&domain.md, DefaultHasher::new());
    let ca_file = md.ca_certs.as_deref().or(globals.ca_file.as_ref());
    let proxy = md.proxy_url.as_deref().or(globals.proxy.as_ref());
    let proxy_ca_file = md.proxy_ca_certs.as_deref().or(globals.proxy_ca_file.as_ref());
    (&md.contacts, &md.ca.agreement, &domain.challenges, ca_file, proxy, proxy_ca_file, md.profile_mandatory)
        .hash(&mut hasher);
    let dns01_command = md.cmd_dns_01.as_deref().or(globals.dns01_command.as_ref());
    (dns01_command, globals.dns01_version, &globals.message_command).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What a renewal of the domain, at the CA that it goes to, is to bring.
fn wanted(
    domain: &Domain,
    md: &ManagedDomain,
    keys: Vec<KeySpec>,
    replaces: Option<Replaces>,
    globals: &Globals,
) -> Wanted {
    Wanted {
        name: md.name.to_string(),
        identifiers: md.order_names().into_iter().map(crate::model::DomainName::identifier).collect(),
        keys,
        must_staple: md.must_staple,
        profile: md.profile.clone().filter(|profile| !profile.is_empty()),
        profile_mandatory: md.profile_mandatory,
        preferred_chain: md.preferred_chain.clone(),
        replaces,
        scope: AccountScope { ca_url: md.ca_url().unwrap_or_default().to_owned(), eab: md.eab.as_deref().cloned() },
        contacts: md.contacts.to_vec(),
        agreement: md.ca.agreement.clone(),
        challenges: (*domain.challenges).clone(),
        one_txt: globals.dns01_version == 1,
    }
}
