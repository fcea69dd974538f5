//! Begins a renewal: claim, look, finish off, ask commands, start.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::renewal::{Renewal, Work, ask_for_restart, go_live, restart_for_staged, tell_renewed, warn};
use super::tailscale::Tailnet;
use crate::accounts::StoredAccounts;
use crate::acme::{AccountRecord, AccountScope, OrderRecord, PortError};
use crate::cancel::Cancel;
use crate::challenges::StoredChallenges;
use crate::counts::RenewalOutcome;
use crate::documents::port_error;
use crate::events::Event;
use crate::http::HttpClient;
use crate::issuance::{Driver, Replaces, Wanted};
use crate::line::decisions::{self, Course};
use crate::log::report;
use crate::model::{Authorities, DomainName, Globals, Job, KeySpec, LastRenewal, ManagedDomain, without_passwords};
use crate::registry::{Domain, NextCa, Registry, next_ca};
use crate::schedule::{self, Why};
use crate::sets::{Advice, RenewalSettings, StagedJournal, StagedState, served, staged};
use crate::store::{Aspect, Group, WorkClaim};

/// When to look again at a domain of which a command is told by another process.
const TOLD_ELSEWHERE: SignedDuration = SignedDuration::from_secs(1);

/// Why a renewal is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The domain was found to be due. Nothing begins if somebody else has renewed it since.
    Due,
    /// The administrator wants it. All key types are renewed, and what is staged counts only if it is not served yet.
    Forced,
}

/// The outcome of an attempt to begin a renewal.
pub enum Begun {
    /// A renewal is under way.
    Started(Box<Renewal>),
    /// All that is needed is staged already, or live.
    Complete {
        /// When commands are to be notified, or what is staged can go live; `None` if nothing is left to do.
        again_at: Option<Timestamp>,
    },
    /// All that is needed is staged, and another process is notifying commands of that.
    NotifiedElsewhere {
        /// When to look at the domain again.
        again_at: Timestamp,
    },
    /// The domain is not due any more.
    NotDue,
    /// The domain is due, but was renewed a short time ago: its certificates have short lives.
    TooSoon {
        /// When the next renewal can begin.
        again_at: Timestamp,
    },
    /// Another server has renewed the domain: this one uses that after its next restart.
    RenewedElsewhere,
    /// A command denies the renewal this time.
    Denied,
    /// Another process works on the domain.
    ClaimedElsewhere,
}

impl Renewal {
    /// Begins to renew the domain at `position`, or goes on with what is staged. Commands end when `cancel` says so.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn begin(
        registry: &Arc<Registry>,
        position: usize,
        http: Arc<dyn HttpClient>,
        reason: Reason,
        cancel: &Cancel,
    ) -> Result<Begun, PortError> {
        let name = registry.domains[position].md.name.as_str();
        let Some(claim) = registry.documents.store().claim(name).map_err(port_error)? else {
            return Ok(Begun::ClaimedElsewhere);
        };
        registry.live_sets.look_for(position);
        let mut attempt = Attempt::look(registry, position, reason, cancel, claim);
        if let Some(nothing_to_do) = attempt.is_settled() {
            return Ok(nothing_to_do);
        }
        attempt.journal.open(attempt.begun.as_ref(), &attempt.order)?;
        match attempt.course() {
            Course::NotDue => return Ok(Begun::NotDue),
            Course::FinishOff => return attempt.finish_off(),
            course @ (Course::StartOver | Course::GoOn) => {
                if let Some(again_at) = attempt.is_too_soon(course) {
                    return Ok(Begun::TooSoon { again_at });
                }
                if course == Course::StartOver {
                    attempt.start_over()?;
                }
            }
        }
        if attempt.is_denied()? {
            return Ok(Begun::Denied);
        }
        attempt.start(http)
    }
}

/// An attempt to begin a renewal, with what is staged: read once, under the claim.
struct Attempt<'a> {
    position: usize,
    registry: &'a Arc<Registry>,
    domain: &'a Domain,
    reason: Reason,
    cancel: &'a Cancel,
    now: Timestamp,
    /// `None` once somebody else took it while commands were notified.
    claim: Option<WorkClaim>,
    /// The domain with the CA that the renewal goes to.
    md: Arc<ManagedDomain>,
    /// Directory URL of that CA, where the report has to name it.
    ca_url: Option<String>,
    /// The records of the domain's CAs.
    known: Authorities,
    journal: StagedJournal,
    begun: Option<ManagedDomain>,
    order: OrderRecord,
    advice: Advice,
    is_due: bool,
}

impl<'a> Attempt<'a> {
    /// Reads what is staged, and chooses the CA.
    fn look(
        registry: &'a Arc<Registry>,
        position: usize,
        reason: Reason,
        cancel: &'a Cancel,
        claim: WorkClaim,
    ) -> Self {
        let domain = &registry.domains[position];
        let now = registry.clock.now();
        let staged = StagedState::read(&registry.documents, &domain.md);
        let next_ca = NextCa::of(&staged);
        let url = next_ca.next(&domain.md, registry.globals.retry_failover, now).map(|next| next.url);
        let known = next_ca.known;
        // Where it goes without saying, the report is the one that the C module writes.
        let is_said = |url: &String| domain.md.ca.urls.len() > 1 || domain.md.ca.url.as_ref() != Some(url);
        let ca_url = url.as_ref().filter(|url| is_said(url)).map(|url| without_passwords(url).into_owned());
        let md = url.map_or_else(|| Arc::clone(&domain.md), |url| next_ca::at_ca(&domain.md, &url));
        let StagedState { job, begun, order, advice } = staged;
        let documents = Arc::clone(&registry.documents);
        let clock = Arc::clone(&registry.clock);
        let journal = StagedJournal::with_report(documents, clock, Arc::clone(&md), registry.events(cancel), job);
        let is_due = reason == Reason::Forced || domain.renew_at(&advice, now) <= now;
        let claim = Some(claim);
        Self {
            position,
            registry,
            domain,
            reason,
            cancel,
            now,
            claim,
            md,
            ca_url,
            known,
            journal,
            begun,
            order,
            advice,
            is_due,
        }
    }

    /// Whether nothing is to be done, here or now, and why.
    fn is_settled(&self) -> Option<Begun> {
        let job = &self.journal.job;
        if !(self.is_due || job.finished) {
            return Some(Begun::NotDue);
        }
        if self.registry.runs_commands && job.telling.is_some_and(|until| until > self.now) {
            // A child of the generation before waits for a command.
            return Some(Begun::NotifiedElsewhere { again_at: self.now + TOLD_ELSEWHERE });
        }
        if self.reason == Reason::Forced || job.finished {
            return None;
        }
        if let Some(again_at) = self.is_too_soon(Course::GoOn) {
            return Some(Begun::TooSoon { again_at });
        }
        let set = self.registry.renewed_elsewhere(self.domain, &self.advice, self.now)?;
        ask_for_restart(self.position, &set.certificates, self.registry, &self.md);
        Some(Begun::RenewedElsewhere)
    }

    /// Decides by what is staged how to go on.
    fn course(&self) -> Course {
        let documents = &self.registry.documents;
        let is_live = || self.domain.has_nothing_new_in(&staged::leaves(documents, &self.md));
        let is_complete = || staged::is_complete(documents, &self.md, &self.keys(), self.now);
        decisions::course(self.is_due, self.journal.job.finished, is_live, is_complete)
    }

    /// Whether the last renewal ended too short a time ago for another order, and when there can be one.
    fn is_too_soon(&self, course: Course) -> Option<Timestamp> {
        if self.reason == Reason::Forced {
            return None;
        }
        let job = &self.journal.job;
        let own = self.domain.own();
        let staged = if job.finished { staged::facts(&self.registry.documents, &self.md) } else { Vec::new() };
        let (certificates, ended) = match course {
            // Of what is staged, a certificate has ended, or something is lost: that does not wait.
            Course::GoOn if job.finished => match staged.iter().flatten().any(|new| new.validity().1 <= self.now) {
                true => (&staged, job.ordered()),
                false => return None,
            },
            _ if job.finished => (&own.certificates, job.ordered()),
            _ => (&own.certificates, self.domain.ordered),
        };
        let pause = served::pause_after_order(certificates);
        schedule::too_soon(why_due(self.domain, &self.advice, self.now), ended, job.finished, pause, self.now)
    }

    /// Drops what is staged, as an activation does.
    fn start_over(&mut self) -> Result<(), PortError> {
        self.journal.start_over(&self.order)?;
        // Of a renewal that went live, nothing is in domains/ before the next start.
        let challenges = std::mem::take(&mut self.journal.job.challenges);
        self.journal.job = Job { challenges, ..Job::new(self.md.name.as_str()) };
        Ok(())
    }

    /// Does what is left to be done where all that is needed is staged, or served without a start.
    fn finish_off(&mut self) -> Result<Begun, PortError> {
        let journal = &mut self.journal;
        let live_at = go_live(self.position, journal, self.registry, self.cancel, self.now);
        if !journal.job.notified_renewed && journal.job.next_run.is_none_or(|at| at <= self.now) {
            tell_renewed(journal, &mut self.claim, self.registry, self.now);
            journal.save_job()?;
        }
        restart_for_staged(self.position, journal, self.registry, self.now);
        let notify_at = journal.job.next_run.filter(|_| !journal.job.notified_renewed);
        Ok(Begun::Complete { again_at: notify_at.into_iter().chain(live_at).min() })
    }

    /// Returns the key types that are to be renewed.
    fn keys(&self) -> Vec<KeySpec> {
        match self.reason {
            Reason::Due => self.domain.keys_to_renew(&self.advice, self.now),
            Reason::Forced => self.md.key_specs().0,
        }
    }

    /// Asks the commands whether the renewal may begin. A denial is reported.
    fn is_denied(&mut self) -> Result<bool, PortError> {
        tell_why(self.domain, &self.advice, self.now);
        let Err(denial) = self.journal.raise(Event::Renewing, &self.domain.served().certificates) else {
            return Ok(false);
        };
        if !denial.is_cancelled() {
            self.registry.count_renewal(RenewalOutcome::Denied);
            report!(AH10060, "{}: the renewal is denied and not tried now: {}", self.md.name, denial.text);
            self.journal.job.last = Some(denial.to_result());
            warn(self.domain, &mut self.journal, self.registry, self.now);
            self.journal.save_job()?;
        }
        Ok(true)
    }

    /// Writes in the report that the renewal has begun, and readies its first step.
    fn start(self, http: Arc<dyn HttpClient>) -> Result<Begun, PortError> {
        let keys = self.keys();
        let Self { position, registry, domain, cancel, now, claim, md, ca_url, known, mut journal, .. } = self;
        journal.job = Job {
            ca_url,
            finished: false,
            notified: false,
            notified_renewed: false,
            next_run: None,
            // It has passed, or was another CA's.
            retry_after: None,
            last_run: Some(now),
            ..journal.job
        };
        let LastRenewal { txt_records, challenges } = &domain.last_renewal;
        if journal.job.txt_records.is_empty() {
            journal.job.txt_records.clone_from(txt_records);
        }
        if journal.job.challenges.is_empty() {
            journal.job.challenges.clone_from(challenges);
        }
        journal.job.record(now, "starting", None, None);
        journal.show_job()?;
        let clock = Arc::clone(&registry.clock);
        let work = if md.is_of_tailscale() {
            let known = domain.own_certificates().map(|own| own.sha256_fingerprint()).collect();
            Work::Tailscale(Tailnet { journal, http, clock, known })
        } else {
            let wanted = wanted(domain, &md, keys, replaces(domain, &md, registry), &registry.globals);
            let publisher = StoredChallenges::new(Arc::clone(&registry.challenges), Arc::clone(&md), cancel);
            let documents = Arc::clone(&registry.documents);
            let accounts = StoredAccounts::new(Arc::clone(&registry.accounts), documents, md.name.as_str());
            let known = registry.known_cas.at(&http, &wanted.scope.ca_url);
            let driver = Driver::new(wanted, journal, publisher, Arc::new(accounts), http, clock);
            Work::Acme(driver.with_known(known))
        };
        Ok(Begun::Started(Box::new(Renewal {
            position,
            md,
            registry: Arc::clone(registry),
            work,
            known,
            stepped: now,
            cancel: cancel.clone(),
            claim,
        })))
    }
}

/// Returns why a domain is due. One that is not due counts as due by time.
fn why_due(domain: &Domain, advice: &Advice, now: Timestamp) -> Why {
    if domain.is_revoked() {
        return Why::Revoked;
    }
    if domain.is_ca_gone() {
        return Why::CaGone;
    }
    if domain.lacks_some() {
        return Why::Missing;
    }
    let is_now = advice.earliest(domain.own_certificates()).is_some_and(|own| own.renew_at <= now);
    let is_of_advice = || domain.renew_at(advice, now) != domain.renew_at(&Advice::default(), now);
    if is_now && is_of_advice() { Why::Suggested } else { Why::Time }
}

/// Reports why a renewal begins: because of what is there, or because the CA suggests it.
fn tell_why(domain: &Domain, advice: &Advice, now: Timestamp) {
    let name = domain.md.name.as_str();
    match why_due(domain, advice, now) {
        Why::Revoked => report!(AH10500, "{name}: is renewed, as OCSP says that its certificate is revoked"),
        Why::Suggested => advice.earliest(domain.own_certificates()).into_iter().for_each(|own| own.tell_now(name)),
        Why::CaGone | Why::Missing | Why::Time if domain.renew_at(&Advice::default(), now) <= now => {
            report!(AH10512, "{name}: its renewal is due");
        }
        Why::CaGone | Why::Missing | Why::Time => {}
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

/// Returns the order that a renewal of the domain makes at the CA that it goes to.
fn wanted(
    domain: &Domain,
    md: &ManagedDomain,
    keys: Vec<KeySpec>,
    replaces: Option<Replaces>,
    globals: &Globals,
) -> Wanted {
    let settings = RenewalSettings::of(md);
    Wanted {
        name: md.name.to_string(),
        identifiers: settings.names.into_iter().map(DomainName::identifier).collect(),
        keys,
        must_staple: settings.must_staple,
        profile: settings.profile.filter(|profile| !profile.is_empty()).cloned(),
        profile_mandatory: settings.profile_mandatory,
        preferred_chain: settings.preferred_chain.cloned(),
        replaces,
        scope: AccountScope {
            ca_url: md.ca_url().unwrap_or_default().to_owned(),
            eab: settings.eab.map(|eab| (**eab).clone()),
        },
        contacts: settings.contacts.clone(),
        contact_source: Arc::clone(settings.contact_source),
        agreement: settings.agreement.clone(),
        challenges: (*domain.challenges).clone(),
        one_txt: globals.dns01_version == 1,
    }
}
