//! One domain's renewal from its claim to its report.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::accounts::StoredAccounts;
use super::challenges::StoredChallenges;
use super::events::Events;
use super::staged::{self, StagedJournal};
use super::{Entry, Registry};
use crate::acme::{AccountScope, AcmeError, Driver, Outcome, PortError, Wanted};
use crate::cancel::Cancel;
use crate::http::HttpClient;
use crate::log::{note, report};
use crate::model::{Globals, Job, JobResult, ManagedDomain, format_human, time};
use crate::store::Claim;

use super::vault::port_error;

/// A renewal that was begun, with the exclusive right to the domain's staging directory.
pub struct Renewal {
    position: usize,
    md: Arc<ManagedDomain>,
    registry: Arc<Registry>,
    driver: Driver<StagedJournal, StoredChallenges>,
    /// When the last step was taken.
    stepped: Timestamp,
    /// Kept for what its drop does, after everything else.
    _claim: Claim,
}

/// What came of the attempt to begin.
pub enum Begun {
    /// It can go on.
    Renewal(Box<Renewal>),
    /// All that is needed is staged already.
    Complete,
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
    /// Begins, or goes on with what is staged. Commands end when `cancel` says so.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn begin(
        position: usize,
        entry: &Entry,
        registry: &Arc<Registry>,
        accounts: Arc<StoredAccounts>,
        http: Arc<dyn HttpClient>,
        cancel: &Cancel,
    ) -> Result<Begun, PortError> {
        let md = Arc::clone(&entry.md);
        let Some(claim) = registry.vault.store().claim(md.name.as_str()).map_err(port_error)? else {
            return Ok(Begun::ClaimedElsewhere);
        };
        let mut journal = StagedJournal::new(
            Arc::clone(&registry.vault),
            Arc::clone(&registry.clock),
            Arc::clone(&md),
            Events::new(&registry.globals, cancel),
        );
        journal.open()?;
        if journal.job.finished && staged::is_complete(&registry.vault, &md, registry.clock.now()) {
            return Ok(Begun::Complete);
        }
        let now = registry.clock.now();
        journal.job = Job {
            finished: false,
            notified: false,
            notified_renewed: false,
            next_run: None,
            // It has passed, or was another CA's.
            retry_after: None,
            ..journal.job
        };
        journal.job.last_run = Some(now);
        journal.job.record(now, "starting", None, None);
        journal.save_job()?;
        let publisher = StoredChallenges::new(registry, Arc::clone(&md), cancel);
        let clock = Arc::clone(&registry.clock);
        let driver = Driver::new(wanted(entry, &registry.globals), journal, publisher, accounts, http, clock);
        Ok(Begun::Renewal(Box::new(Self {
            position,
            md,
            registry: Arc::clone(registry),
            driver,
            stepped: now,
            _claim: claim,
        })))
    }

    /// Position of the domain in the registry.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// What is being done.
    pub fn activity(&mut self) -> Option<&str> {
        self.driver.journal().job.last.as_ref()?.activity.as_deref()
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
        self.driver.step()
    }

    /// Writes the report. Returns when to look at the domain again; `None` for the usual time. `delay` says how long
    /// to wait after so many failures, of which the last is permanent or not.
    pub fn end(&mut self, ended: Ended, delay: impl Fn(u32, bool) -> SignedDuration) -> Option<Timestamp> {
        let now = self.registry.clock.now();
        let look = match ended {
            Ended::Done => {
                self.succeeded(now);
                None
            }
            Ended::Failed(err) => Some(self.failed(&err, now, delay)),
            Ended::Cancelled => {
                note!(Debug, "{}: the renewal is interrupted and goes on later", self.md.name);
                None
            }
        };
        if let Err(err) = self.driver.journal().save_job() {
            note!(Error, err.status; "{}: the report of the renewal cannot be written: {err}", self.md.name);
        }
        look
    }

    fn succeeded(&mut self, now: Timestamp) {
        let facts = staged::facts(&self.registry.vault, &self.md);
        let valid_from = facts.iter().flatten().map(|facts| facts.validity().0).max().unwrap_or(now);
        let usable = if valid_from > now {
            format!("can be used from {} on", time::format_gmt(valid_from))
        } else {
            format!(
                "can be used (valid since {}). A graceful server restart now is recommended.",
                time::format_gmt(valid_from)
            )
        };
        let detail = format!("The certificate for the managed domain has been renewed successfully and {usable}");
        let job = &mut self.driver.journal().job;
        job.finished = true;
        job.errors = 0;
        job.next_run = None;
        job.settings = None;
        job.valid_from = Some(valid_from);
        job.record(now, "finished", None, Some(&detail));
        job.last = Some(JobResult { detail: Some(detail), valid_from: Some(valid_from), ..JobResult::default() });
        job.record(now, "message-renewed", None, None);
        job.notified = true;
        job.notified_renewed = true;
        report!(
            AH10059,
            "The Managed Domain {} has been setup and changes will be activated on next (graceful) server restart.",
            self.md.name
        );
    }

    fn failed(&mut self, err: &AcmeError, now: Timestamp, delay: impl Fn(u32, bool) -> SignedDuration) -> Timestamp {
        let name = self.md.name.clone();
        let settings = settings(&self.registry.entries[self.position], &self.registry.globals);
        let job = &mut self.driver.journal().job;
        let activity = job.last.take().and_then(|last| last.activity);
        let result = JobResult { activity, ..err.to_result() };
        let detail = result.detail.clone().unwrap_or_default();
        job.errors = job.errors.saturating_add(1);
        job.retry_after = err.retry_after().filter(|at| *at > now);
        let next = (now + delay(job.errors, err.is_permanent())).max(job.retry_after.unwrap_or(now));
        job.next_run = Some(next);
        job.settings = Some(settings);
        job.record(now, "renewal-error", result.problem.as_deref(), Some(&detail));
        let problem = result.problem.as_ref().map(|problem| format!(" problem[{problem}]")).unwrap_or_default();
        let activity = result.activity.as_ref().map(|activity| format!(" while[{activity}]")).unwrap_or_default();
        report!(AH10056, err.status(); "processing {name}:{activity}{problem} {detail}");
        report!(
            AH10057,
            "{name}: encountered error for the {}. time, next run in {}",
            job.errors,
            format_human(next.duration_since(now))
        );
        job.last = Some(result);
        next
    }
}

/// Stands for the settings, from wherever they come, that may decide whether a renewal succeeds, beside what is ordered
/// and where. Other settings give another text, and so may another release: the domain is tried once more then.
pub(super) fn settings(entry: &Entry, globals: &Globals) -> String {
    let (md, mut hasher) = (&entry.md, DefaultHasher::new());
    let ca_file = md.ca_certs.as_ref().or(globals.ca_file.as_ref());
    let proxy = md.proxy_url.as_ref().or(globals.proxy.as_ref());
    let proxy_ca_file = md.proxy_ca_certs.as_ref().or(globals.proxy_ca_file.as_ref());
    (&md.contacts, &md.ca.agreement, &entry.challenges, ca_file, proxy, proxy_ca_file).hash(&mut hasher);
    let dns01_command = md.cmd_dns_01.as_ref().or(globals.dns01_command.as_ref());
    (dns01_command, globals.dns01_version, &globals.message_command).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn wanted(entry: &Entry, globals: &Globals) -> Wanted {
    let md = &entry.md;
    Wanted {
        name: md.name.to_string(),
        identifiers: md.order_names().into_iter().map(crate::model::DomainName::identifier).collect(),
        keys: md.key_specs().0,
        must_staple: md.must_staple,
        scope: AccountScope { ca_url: md.ca_url().unwrap_or_default().to_owned(), eab: md.eab.as_deref().cloned() },
        contacts: md.contacts.to_vec(),
        agreement: md.ca.agreement.clone(),
        challenges: (*entry.challenges).clone(),
        one_txt: globals.dns01_version == 1,
    }
}
