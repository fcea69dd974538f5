//! The renewal of a domain from its claim to its report.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::tailscale::Tailnet;
use crate::acme::{AcmeError, PortError};
use crate::cancel::Cancel;
use crate::challenges::StoredChallenges;
use crate::counts::RenewalOutcome;
use crate::crypto::Summary;
use crate::events::Event;
use crate::issuance::{Driver, Outcome};
use crate::line::decisions;
use crate::live::{NotNow, Published, Renewed};
use crate::log::{note, report};
use crate::model::{Authorities, DomainName, Globals, Job, JobResult, ManagedDomain, Next, State, format_human, time};
use crate::registry::{Domain, Registry};
use crate::schedule::{self, AUTOMATIC_VALIDATION_FAILURES};
use crate::sets::{PairSet, RenewalSettings, StagedJournal, staged};
use crate::stapling::Unstapled;
use crate::store::WorkClaim;

use crate::documents::port_error;

/// A renewal that was begun, with the exclusive right to the domain's staging directory.
pub struct Renewal {
    pub(super) position: usize,
    pub(super) md: Arc<ManagedDomain>,
    pub(super) registry: Arc<Registry>,
    pub(super) work: Work,
    /// The records of the domain's CAs.
    pub(super) known: Authorities,
    /// When the last step was taken.
    pub(super) stepped: Timestamp,
    pub(super) cancel: Cancel,
    /// Dropped after everything else. `None` when somebody else took it while commands were told of the end.
    pub(super) claim: Option<WorkClaim>,
}

/// The party that does the work.
#[allow(clippy::large_enum_variant, reason = "a renewal is in a box as a whole")]
pub(super) enum Work {
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

    fn driver(&self) -> Option<&Driver<StagedJournal, StoredChallenges>> {
        match self {
            Self::Acme(driver) => Some(driver),
            Self::Tailscale(_) => None,
        }
    }
}

/// How a renewal ended.
pub enum Ended {
    /// The renewal has succeeded: everything is staged.
    Done,
    /// The renewal has failed.
    Failed(AcmeError),
    /// The renewal is interrupted and goes on later, as this process stops.
    Cancelled,
}

impl Renewal {
    /// Position of the domain in the registry.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The domain, with the CA that it goes to.
    #[must_use]
    pub fn md(&self) -> &ManagedDomain {
        &self.md
    }

    /// Directory URL of the CA that it goes to.
    #[must_use]
    pub fn ca_url(&self) -> &str {
        self.md.ca_url().unwrap_or_default()
    }

    /// Sets a nonce of the CA to begin with.
    pub fn set_nonce(&mut self, nonce: Option<String>) {
        if let Some(driver) = self.work.acme() {
            driver.set_nonce(nonce);
        }
    }

    /// Checks whether the CA has answered in this run.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.work.driver().is_some_and(Driver::has_answer)
    }

    /// Checks whether the CA has taken the account in this run.
    #[must_use]
    pub fn has_account(&self) -> bool {
        self.work.driver().is_some_and(Driver::has_account)
    }

    /// Checks whether there is an order.
    #[must_use]
    pub fn has_order(&self) -> bool {
        self.work.driver().is_none_or(Driver::has_order)
    }

    /// Checks whether all certificates are staged.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.work.driver().is_some_and(Driver::has_all)
    }

    /// Takes a nonce that is not used.
    pub fn take_nonce(&mut self) -> Option<String> {
        self.work.acme()?.take_nonce()
    }

    /// Returns what is being done.
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
        let is_failed = matches!(ended, Ended::Failed(_));
        self.registry.count_renewal(match &ended {
            Ended::Done => RenewalOutcome::Success,
            Ended::Failed(_) => RenewalOutcome::Failure,
            Ended::Cancelled => RenewalOutcome::Interrupted,
        });
        let look = match ended {
            Ended::Done => self.succeeded(now),
            Ended::Failed(err) => Some(self.failed(&err, now, delay)),
            Ended::Cancelled => {
                note!(Debug, "{}: the renewal is interrupted and goes on later", self.md.name);
                None
            }
        };
        let journal = self.work.journal();
        if let Err(err) = if is_failed { journal.save_job() } else { journal.show_job() } {
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
        let served = domain.served();
        let served = served.common_validity().filter(|_| served.state == Some(State::Complete));
        let ready_at =
            valid_from.max(now) + decisions::activation_delay(served, self.registry.globals.activation_delay, now);
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
        job.refused_replacements.clear();
        job.challenges.succeed(&self.md.domains);
        job.authorities = Authorities::default();
        job.valid_from = Some(valid_from);
        job.record(now, Job::FINISHED, None, Some(&detail));
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
        let url = self.md.ca_url().unwrap_or_default();
        let failover = self.registry.globals.retry_failover;
        let patience = domain.patience(now);
        self.known.failed(url, err.retry_after(), patience, failover, now);
        let then = self.known.next(&self.md.ca.urls, failover, now);
        let then = then.unwrap_or_else(|| Next { url: url.to_owned(), failures: job.errors, retry_after: None });
        let is_permanent = err.is_permanent() && then.url == url;
        job.retry_after = then.retry_after;
        let delay = delay(then.failures.max(1), is_permanent);
        let delay = domain.delay_for_short_life(delay, is_permanent, self.registry.globals.retry_delay, now);
        let mut floor = None;
        if err.is_failed_validation() {
            job.validation_failures = schedule::recent(&job.validation_failures, now);
            job.validation_failures.push(now);
            floor = schedule::validation_floor(&job.validation_failures, AUTOMATIC_VALIDATION_FAILURES, now);
        }
        let next = decisions::next_attempt(delay, job.retry_after, patience, floor, now);
        job.next_run = Some(next);
        if self.md.ca.urls.len() > 1 {
            job.authorities = self.known.clone();
        }
        job.settings = Some(settings);
        job.record(now, "renewal-error", result.problem.as_deref(), Some(&detail));
        let errors = job.errors;
        job.last = Some(result.clone());
        // Who reads of the failure in the log finds it in job.json. The report is written once more with the errors of commands.
        let _ = journal.show_job();
        // Beside a server it is not this program that makes the next attempt.
        let when = match self.registry.runs_commands {
            true => format!(", next attempt at {}", time::format_gmt(next)),
            false => String::new(),
        };
        report!(AH10056, err.status(); "processing {name}: {}{when}", result.to_log(name.as_str()));
        if err.retry_after().is_some_and(|asked| asked > next) && then.url == url {
            note!(
                Info,
                "{name}: the CA wants more time than a third of what is left of the certificate, and is asked earlier"
            );
        }
        tell_next(name.as_str(), errors, next, now);
        if then.url != url {
            report!(MD0016, "{name}: giving up on {url} for now; next attempt with {}", then.url);
        }
        // That one of them fails too hides neither the reason nor the time of the next attempt.
        let _ = journal.raise(Event::Errored, &domain.served().certificates);
        warn(domain, journal, &self.registry, now);
        let warn_at = domain.warn_at(&journal.job, self.registry.globals.retry_delay, now);
        next.min(warn_at.unwrap_or(next))
    }
}

fn tell_next(name: &str, errors: u32, next: Timestamp, now: Timestamp) {
    let delay = format_human(next.duration_since(now));
    report!(AH10057, "{name}: encountered error for the {errors}. time, next run in {delay}");
}

/// Publishes what is staged, if the server is to use it without a start. What is served stays if that fails, and the next start
/// uses what is staged. Returns when to try again, if something may have changed by then.
pub(super) fn go_live(
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
    if let Err(err) = journal.show_job() {
        report!(MD0035, err.status; "{name}: goes live at the next start only: {err}");
        return None;
    }
    let domain = &registry.domains[position];
    let staple = |pair_set: &PairSet| {
        registry.stapling.fetch_before_live(&domain.md, pair_set.pairs.iter().map(|pair| &pair.chain), cancel)
    };
    let renewed = Renewed { job: &journal.job, ca_url: journal.domain().ca.url.as_deref() };
    match registry.live_sets.publish(position, &domain.at_start, &renewed, now, staple) {
        Ok(Published::Live(certificates)) => {
            report!(MD0036, "{name}: its new certificates are live");
            // That a command fails does not make them less live, and is in the log.
            let _ = journal.raise(Event::Activated, &certificates.into_iter().map(Some).collect::<Vec<_>>());
        }
        Ok(Published::NotNow(reason)) => return tell_not_live(&name, &reason, registry, now),
        Err(err) => report!(MD0035, err.status; "{name}: goes live at the next start only: {err}"),
    }
    None
}

/// Reports why the certificates of a renewal do not go live. Returns when to try again, if something may have changed by then.
fn tell_not_live(name: &DomainName, reason: &NotNow, registry: &Registry, now: Timestamp) -> Option<Timestamp> {
    match reason {
        NotNow::NothingNew | NotNow::NotBefore(_) | NotNow::Unstapled(Unstapled::Cancelled) => {}
        NotNow::Unstapled(lack @ Unstapled::NoResponse { failures, .. }) => {
            let next = now + schedule::back_off(*failures, false, registry.globals.retry_delay, 0.5);
            let at = time::format_gmt(next);
            report!(MD0037, "{name}: what is staged does not go live yet: {lack}; next attempt at {at}");
            return Some(next);
        }
        NotNow::Unstapled(lack @ Unstapled::Off) => {
            report!(MD0037, "{name}: what is staged goes live at the next start only: {lack}");
        }
        NotNow::Incomplete(reason) | NotNow::Unusable(reason) => {
            report!(MD0035, "{name}: what is staged does not go live: {reason}");
        }
    }
    None
}

/// Asks for the restart of the server that what is staged waits for, if it makes such by itself. Nothing of the renewal is left to
/// be done then.
pub(super) fn restart_for_staged(position: usize, journal: &StagedJournal, registry: &Registry, now: Timestamp) {
    if !journal.is_gone() && journal.job.valid_from.is_none_or(|at| at <= now) {
        ask_for_restart(position, &staged::facts(&registry.documents, journal.domain()), registry, journal.domain());
    }
}

pub(super) fn ask_for_restart(position: usize, new: &[Option<Summary>], registry: &Registry, md: &ManagedDomain) {
    let prints = || new.iter().flatten().map(Summary::sha256_fingerprint).collect();
    if registry.domains[position].restarts() && registry.restarts.ask(position, prints()) {
        note!(Info, "{}: its new certificates wait for the server to restart itself", md.name);
    }
}

/// Notifies commands that there are new certificates. If one fails, all are notified again later.
pub(super) fn tell_renewed(
    journal: &mut StagedJournal,
    claim: &mut Option<WorkClaim>,
    registry: &Registry,
    now: Timestamp,
) {
    let told = journal.raise_renewed(claim);
    if journal.is_gone() {
        return;
    }
    let job = &mut journal.job;
    match told {
        Ok(()) => {
            (job.notified, job.notified_renewed, job.next_run, job.errors) = (true, true, None, 0);
            let domains = job.log.iter().flat_map(|log| &log.entries);
            let detail = domains
                .into_iter()
                .find(|domain| domain.kind == Job::FINISHED)
                .and_then(|domain| domain.detail.clone());
            job.last = Some(JobResult { detail, valid_from: job.valid_from, ..JobResult::default() });
        }
        Err(err) if err.is_cancelled() => {}
        Err(err) => {
            job.errors = job.errors.saturating_add(1);
            let next = now + schedule::back_off(job.errors, false, registry.globals.retry_delay, 0.5);
            (job.next_run, job.last) = (Some(next), Some(err.to_result()));
            tell_next(&job.name, job.errors, next, now);
        }
    }
}

/// Warns commands that the end of what is served is near, if that is so and they were not warned today. Whatever comes of it, the renewal is
/// where it was.
pub(super) fn warn(domain: &Domain, journal: &mut StagedJournal, registry: &Registry, now: Timestamp) {
    let at = domain.warn_at(&journal.job, registry.globals.retry_delay, now);
    if at.is_some_and(|at| at <= now) {
        let _ = journal.raise(Event::Expiring, &domain.served().certificates);
    }
}

/// Warns of the end of a domain's certificates where no renewal of it is under way. Returns the report; `None` if another process
/// works on the domain.
///
/// # Errors
/// If the report cannot be written.
pub(crate) fn warn_of(domain: &Domain, registry: &Registry, cancel: &Cancel) -> Result<Option<Job>, PortError> {
    let Some(_claim) = registry.documents.store().claim(domain.md.name.as_str()).map_err(port_error)? else {
        return Ok(None);
    };
    let documents = Arc::clone(&registry.documents);
    let clock = Arc::clone(&registry.clock);
    let mut journal = StagedJournal::new(documents, clock, Arc::clone(&domain.md), registry.events(cancel));
    let before = journal.job.clone();
    warn(domain, &mut journal, registry, registry.clock.now());
    if journal.job != before {
        journal.save_job()?;
    }
    Ok(Some(journal.job))
}

/// Returns the text that stands for the settings of a domain in the report on a failure.
pub(crate) fn settings(domain: &Domain, globals: &Globals) -> String {
    RenewalSettings::of(&domain.md).digest(&domain.challenges, globals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestServer;

    #[test]
    fn an_upgrade_does_not_make_a_domain_due_that_has_failed_with_the_same_settings() {
        let mut server = TestServer::new(&["recorded.test"]);
        let of = |server: &TestServer| settings(&server.start(false).domains[0], &server.globals);
        // These stand in job.json of servers that run.
        assert_eq!(of(&server), "fa342e939d1caba4");
        let own = &mut server.declared[0].settings;
        own.contact = Some(crate::model::Contact::of_directive("b@x.org", crate::model::Origin::default()));
        own.agreement = Some("https://ca.test/terms".to_owned());
        own.challenges = Some(vec!["dns-01".to_owned(), "http-01".to_owned()]);
        own.profile_mandatory = Some(true);
        own.ca_file = Some("/etc/ca.pem".to_owned());
        own.proxy = Some("http://proxy.test".to_owned());
        own.proxy_ca_file = Some("/etc/proxy.pem".to_owned());
        own.dns01_command = Some("/bin/dns".to_owned());
        server.globals.dns01_version = 2;
        server.globals.message_command = Some("/bin/message".to_owned());
        assert_eq!(of(&server), "d34651e19fc2bfc5");
    }
}
