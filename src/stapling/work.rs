//! Fetches OCSP responses that are due, in one process of the server: stores them, signals the other processes, raises events.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::queue::{Attempt, Failure, Queue};
use super::stored::{self, Found, revocation_name};
use super::table::Table;
use super::{OTHER, StapledCertificate, Stapling, report_revoked};
use crate::cancel::Cancel;
use crate::counts::Counts;
use crate::crypto::Revocation;
use crate::events::{About, Event, Events};
use crate::http::HttpClient;
use crate::log::{note, report};
use crate::model::{DomainName, Globals, Job, JobResult, ManagedDomain, OcspFailures, time};
use crate::ocsp::{self, FetchError, Fetched};
use crate::schedule::{self, Random};
use crate::store::{Aspect, Group};

/// A function that makes the HTTP client of a worker.
pub type OcspClient = Box<dyn Fn(&Cancel) -> Arc<dyn HttpClient> + Send + Sync>;

/// The work of fetching responses in this process.
pub struct StaplingWork {
    stapling: Arc<Stapling>,
    globals: Arc<Globals>,
    /// All domains. Events are about one of them.
    domains: Vec<Arc<ManagedDomain>>,
    client: OcspClient,
    random: Random,
    counts: Option<&'static Counts>,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while a job is written, so that an older one never replaces a newer one.
    saving: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The queue; `None` before the first [`StaplingWork::tick`].
    queue: Option<Queue>,
    /// Number of changes to the table when the queue was last compared with it.
    changes: usize,
    jobs: HashMap<String, OwnerJob>,
    workers: usize,
    /// Time of the last [`StaplingWork::tick`].
    ticked: Timestamp,
}

/// The job of one owner's certificates.
struct OwnerJob {
    job: Job,
    /// Whether a command is being run for an event.
    is_raising: bool,
    saved: Timestamp,
    unsaved: bool,
}

/// Puts the certificate that a worker has taken back into the queue if the worker panics.
struct PutBackOnPanic<'a> {
    work: &'a StaplingWork,
    entry: &'a StapledCertificate,
}

/// Counts a worker that ends, also by a panic.
struct Worker<'a>(&'a StaplingWork);

impl StaplingWork {
    /// How long a worker waits between checks whether it is cancelled.
    const PATIENCE: Duration = Duration::from_millis(100);
    /// Shortest time between two writes of an owner's job while responses for its certificates are fetched.
    const SAVE_PAUSE: SignedDuration = SignedDuration::from_secs(1);
    /// Wait before a response is fetched again after a worker panicked about it.
    const AFTER_A_PANIC: SignedDuration = SignedDuration::from_hours(24);

    /// Makes the work on all certificates of `stapling`, which begins with the first [`StaplingWork::tick`].
    #[must_use]
    pub fn new(
        stapling: Arc<Stapling>,
        globals: Arc<Globals>,
        domains: Vec<Arc<ManagedDomain>>,
        client: OcspClient,
        random: Random,
    ) -> Self {
        let state = Mutex::default();
        let changed = Condvar::new();
        let saving = Mutex::default();
        Self { stapling, globals, domains, client, random, counts: None, state, changed, saving }
    }

    /// Counts the commands that are run for events.
    #[must_use]
    pub fn counted(self, counts: Option<&'static Counts>) -> Self {
        Self { counts, ..self }
    }

    fn stapling(&self) -> &Stapling {
        &self.stapling
    }

    fn now(&self) -> Timestamp {
        self.stapling.clock.now()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues responses that are due. Returns how many workers to start for them, so that there are `MDRenewWorkers` at most.
    /// Called every second, and cheap if no response is due.
    pub fn tick(&self) -> usize {
        let now = self.now();
        let mut state = self.state();
        let was_put_back = now < state.ticked;
        state.ticked = now;
        if state.queue.is_none() || was_put_back {
            drop(state);
            self.begin(now);
            state = self.state();
        }
        if state.changes != self.stapling().table().changes() {
            drop(state);
            self.follow(now);
            state = self.state();
        }
        let Some(queue) = &mut state.queue else { return 0 };
        if queue.next_check() <= now {
            let table = self.stapling().table();
            // Responders do not answer for certificates that have expired.
            let count =
                queue.enqueue_due(now, |index| table.get(index).is_some_and(|entry| entry.leaf.not_after() > now));
            drop(table);
            if count > 0 {
                report!(AH10198, "OCSP watchdog run, {count} responses to fetch");
            }
            report!(AH10199, "next OCSP watchdog run at {}", time::format_gmt(queue.next_check()));
        }
        let wanted = queue.open().min(self.globals.renew_workers.get().into());
        let missing = wanted.saturating_sub(state.workers);
        state.workers += missing;
        missing
    }

    /// Returns the number of certificates in the queue.
    #[cfg(test)]
    pub fn planned(&self) -> usize {
        self.state().queue.as_ref().map_or(0, Queue::len)
    }

    /// Notes that a worker of [`StaplingWork::tick`] has ended or could not be started.
    pub fn worker_lost(&self) {
        let mut state = self.state();
        state.workers = state.workers.saturating_sub(1);
    }

    /// Plans all attempts anew: at first, and when the clock was set back, as all plans would be late by as much.
    fn begin(&self, now: Timestamp) {
        let stapling = self.stapling();
        let (all, changes) = self.table();
        self.load_jobs(&all);
        let mut state = self.state();
        if state.queue.as_ref().is_some_and(|queue| queue.open() > 0) {
            // Requests in progress are awaited first.
            return;
        }
        let is_restart = stapling.is_restart || state.queue.is_some();
        let mut queue = Queue::default();
        for entry in &all {
            let attempt = self.first(entry, &state, is_restart || entry.went_live, now);
            queue.add(entry.index, &origin(&entry.responder), attempt);
        }
        (state.queue, state.changes) = (Some(queue), changes);
    }

    /// Adds certificates that have gone live to the queue, and drops those that were replaced.
    fn follow(&self, now: Timestamp) {
        let (all, changes) = self.table();
        self.load_jobs(&all);
        let mut state = self.state();
        let Some(mut queue) = state.queue.take() else { return };
        let present: HashSet<usize> = all.iter().map(|entry| entry.index).collect();
        queue.retain(|index| present.contains(&index));
        let new: Vec<_> = all.iter().filter(|entry| !queue.has(entry.index)).collect();
        for entry in new {
            queue.add(entry.index, &origin(&entry.responder), self.first(entry, &state, true, now));
        }
        // Items in progress are dropped after their end.
        let is_done = queue.len() == all.len();
        (state.queue, state.changes) = (Some(queue), if is_done { changes } else { state.changes });
        drop(state);
        if is_done {
            self.stapling().clean_up(&self.globals);
        }
    }

    fn table(&self) -> (Vec<Arc<StapledCertificate>>, usize) {
        let table = self.stapling().table();
        (table.iter().map(Arc::clone).collect(), table.changes())
    }

    /// Reads the jobs of owners that are new.
    fn load_jobs(&self, all: &[Arc<StapledCertificate>]) {
        let owners: HashSet<&str> = all.iter().map(|entry| entry.owner()).collect();
        let is_new = |owner: &&str| !self.state().jobs.contains_key(*owner);
        let new: Vec<&str> = owners.into_iter().filter(is_new).collect();
        if new.is_empty() {
            return;
        }
        let known = self.stapling.documents.items_if_listed(Group::Ocsp);
        let load = |owner: &str| {
            let job = Some(owner).filter(|owner| known.contains(*owner));
            let job = job.and_then(|owner| self.stapling.documents.load_json(Group::Ocsp, owner, &Aspect::JobJson));
            let job = Job { name: owner.to_owned(), ..job.unwrap_or_default() };
            (owner.to_owned(), OwnerJob { job, is_raising: false, saved: Timestamp::MIN, unsaved: false })
        };
        let loaded: Vec<_> = new.into_iter().map(load).collect();
        self.state().jobs.extend(loaded);
    }

    fn first(&self, entry: &StapledCertificate, state: &State, is_restart: bool, now: Timestamp) -> Attempt {
        let failed = state.jobs.get(entry.owner()).and_then(|of_owner| of_owner.job.ocsp_failures.get(&hex(entry)));
        Attempt::first(&entry.held(), failed, self.stapling().window, is_restart, now)
    }

    /// Fetches queued responses until the queue is empty, or until cancelled. Runs in as many threads as [`StaplingWork::tick`]
    /// says.
    pub fn work(&self, cancel: &Cancel) {
        let _worker = Worker(self);
        let http = (self.client)(cancel);
        let events = Events::new(&self.globals, cancel).counted(self.counts);
        while let Some(entry) = self.next_task(cancel) {
            let guard = PutBackOnPanic { work: self, entry: &entry };
            self.fetch(&entry, &*http, &events);
            std::mem::forget(guard);
            self.changed.notify_all();
        }
        let unsaved = |(owner, of_owner): (&String, &OwnerJob)| of_owner.unsaved.then(|| owner.clone());
        let owners: Vec<String> = self.state().jobs.iter().filter_map(unsaved).collect();
        owners.iter().for_each(|owner| self.save(owner, true));
    }

    fn next_task(&self, cancel: &Cancel) -> Option<Arc<StapledCertificate>> {
        let mut state = self.state();
        loop {
            let queue = state.queue.as_mut()?;
            if cancel.is_cancelled() {
                queue.clear();
                return None;
            }
            if let Some(index) = queue.take() {
                match self.stapling().table().get(index) {
                    Some(entry) => return Some(Arc::clone(entry)),
                    // The certificate was replaced while it was queued.
                    None => queue.put_back(index, Timestamp::MAX),
                }
                continue;
            }
            if !queue.is_waiting() {
                return None;
            }
            state = self.changed.wait_timeout(state, Self::PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn fetch(&self, entry: &StapledCertificate, http: &dyn HttpClient, events: &Events) {
        if self.has_another_process_fetched(entry) {
            return;
        }
        let now = self.now();
        match ocsp::fetch(http, &entry.responder, &entry.leaf, &entry.issuer, now) {
            Ok(fetched) => self.succeeded(entry, fetched, events),
            Err(err) if err.is_cancelled() => self.close(entry, |queue, _| queue.put_back(entry.index, now)),
            Err(err) => self.failed(entry, &err, events),
        }
    }

    /// Checks for a newer response in the store, and takes it: the previous generation of the server may have fetched one after
    /// this generation had read the store.
    fn has_another_process_fetched(&self, entry: &StapledCertificate) -> bool {
        let stapling = self.stapling();
        let now = self.now();
        let written =
            self.stapling.documents.store().modified(Group::Ocsp, entry.owner(), &Aspect::OcspJson(entry.sha1));
        if written.is_none() || written == entry.held().written {
            return false;
        }
        let Found::Held(held) = stapling.read_stored(entry) else { return false };
        let opens = held.validity.filter(|_| held.is_good(now)).map(|(from, until)| stapling.window.opens(from, until));
        let Some(next) = opens.filter(|opens| *opens > now) else { return false };
        stapling.hold(entry, held);
        stapling.announce(entry);
        self.close(entry, |queue, _| queue.put_back(entry.index, next));
        true
    }

    fn succeeded(&self, entry: &StapledCertificate, fetched: Fetched, events: &Events) {
        let stapling = self.stapling();
        let now = self.now();
        let revocation = fetched.revocation;
        let validity = fetched.validity;
        let was_revoked = entry.is_revoked();
        let (held, saved) = stored::save(&self.stapling.documents, entry, fetched);
        stapling.hold(entry, held);
        stapling.announce(entry);
        if let Err(err) = saved {
            report!(MD0028, err.status; "{}: an OCSP response is used by one process only, as it cannot be stored: {err}", entry.owner());
        }
        let next = ocsp::next_fetch(validity, stapling.window, self.globals.retry_delay, now);
        let detail = format!(
            "OCSP status of certificate {} is '{}' until {}",
            entry.serial(),
            revocation_name(revocation),
            time::format_gmt(validity.1)
        );
        note!(Info, "{}: {detail}, next fetch at {}", entry.owner(), time::format_gmt(next));
        self.close(entry, |queue, job| {
            queue.succeeded(entry.index, next);
            job.last_run = Some(now);
            job.last =
                Some(JobResult { activity: Some(ACTIVITY.to_owned()), detail: Some(detail), ..JobResult::default() });
        });
        if revocation == Revocation::Revoked && !was_revoked {
            report_revoked(entry);
            self.raise(entry, Event::OcspRevoked, events);
        }
        self.raise(entry, Event::OcspRenewed, events);
        self.save(entry.owner(), false);
    }

    fn failed(&self, entry: &StapledCertificate, err: &FetchError, events: &Events) {
        let now = self.now();
        let failure = Failure { of_responder: err.is_of_responder(), retry_after: err.retry_after() };
        let mut others = 0;
        let mut next = now;
        let text = format!("no OCSP response for certificate {}: {err}", entry.serial());
        self.close(entry, |queue, job| {
            others = queue.failed(entry.index, failure, now, |failures| self.back_off(failures));
            next = queue.attempt(entry.index).map_or(now, |attempt| attempt.next);
            job.last_run = Some(now);
            job.last = Some(JobResult {
                activity: Some(ACTIVITY.to_owned()),
                ..JobResult::failure(err.status(), err.problem(), text.clone())
            });
            job.record(now, "ocsp-error", err.status().text().as_deref(), Some(&text));
        });
        let meanwhile = match entry.held().validity.filter(|(_, until)| *until > now) {
            Some((_, until)) => format!("the current one is valid until {}", time::format_gmt(until)),
            None => "nothing is stapled meanwhile".to_owned(),
        };
        let waiting =
            if others > 0 { format!(", {others} other certificates wait for the responder") } else { String::new() };
        report!(
            MD0031,
            err.status();
            "{}: {text}, next attempt at {}, {meanwhile}{waiting}", entry.owner(), time::format_gmt(next)
        );
        self.raise(entry, Event::OcspErrored, events);
        self.save(entry.owner(), false);
    }

    /// Ends the work on a certificate.
    fn close(&self, entry: &StapledCertificate, end: impl FnOnce(&mut Queue, &mut Job)) {
        let mut state = self.state();
        let State { queue: Some(queue), jobs, .. } = &mut *state else { return };
        let Some(of_owner) = jobs.get_mut(entry.owner()) else { return };
        end(queue, &mut of_owner.job);
    }

    /// Raises an event for the owner of a certificate, unless that happened a short time ago or is in progress: an owner may have
    /// many certificates.
    fn raise(&self, entry: &StapledCertificate, event: Event<'_>, events: &Events) {
        let now = self.now();
        let mut job = {
            let mut state = self.state();
            let Some(of_owner) = state.jobs.get_mut(entry.owner()) else { return };
            if of_owner.is_raising {
                return;
            }
            if let Some(until) = event.not_before(&of_owner.job, self.globals.retry_delay, now) {
                let reason = event.reason();
                let until = time::format_gmt(until);
                return report!(AH10267, "{}: event '{reason}' is not raised again before {until}", entry.owner());
            }
            of_owner.is_raising = true;
            Job { log: None, ..of_owner.job.clone() }
        };
        let about = self.about(entry);
        let certificates = [Some(entry.leaf.summary())];
        // A failure was logged by `raise`, and is in the job.
        let _ = events.raise(event, &About { md: &about, certificates: &certificates }, &mut job, now);
        let mut state = self.state();
        let Some(of_owner) = state.jobs.get_mut(entry.owner()) else { return };
        of_owner.is_raising = false;
        for line in job.log.iter().flat_map(|log| &log.entries).rev() {
            of_owner.job.record(line.when.unwrap_or(now), &line.kind, line.status.as_deref(), line.detail.as_deref());
        }
    }

    /// Returns the domain that an event is about: the owner, or for certificates of no domain one that is made up from their
    /// names.
    fn about(&self, entry: &StapledCertificate) -> Arc<ManagedDomain> {
        if let Some(known) = self.domains.iter().find(|known| Some(&known.name) == entry.owner.as_ref()) {
            return Arc::clone(known);
        }
        let names = entry.leaf.names();
        let mut domains: Vec<DomainName> = names.iter().filter_map(|name| DomainName::parse(name).ok()).collect();
        domains.extend(DomainName::parse(OTHER).ok().filter(|_| domains.is_empty()));
        let md = ManagedDomain::new(domains).expect("there is one name at least, as `other` is one");
        Arc::new(ManagedDomain { name: DomainName::parse(OTHER).unwrap_or(md.name), ..md })
    }

    /// Writes the job of an owner, but unless `must` is set not again within a second, as an owner may have many certificates.
    fn save(&self, owner: &str, must: bool) {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        let job = {
            let mut state = self.state();
            let State { queue: Some(queue), jobs, .. } = &mut *state else { return };
            let Some(of_owner) = jobs.get_mut(owner) else { return };
            of_owner.unsaved = !must && of_owner.saved <= now && now < of_owner.saved + Self::SAVE_PAUSE;
            if of_owner.unsaved {
                return;
            }
            of_owner.saved = now;
            Self::complete(&mut of_owner.job, &self.stapling().table(), owner, queue);
            of_owner.job.clone()
        };
        if let Err(err) = self.stapling.documents.save_json(Group::Ocsp, owner, &Aspect::JobJson, &job) {
            report!(MD0028, err.status; "{owner}: {err}");
        }
    }

    fn complete(job: &mut Job, table: &Table, owner: &str, queue: &Queue) {
        let members = table.of(owner).iter();
        let attempts: Vec<_> = members.filter_map(|index| Some((table.get(*index)?, queue.attempt(*index)?))).collect();
        job.errors = attempts.iter().map(|(_, attempt)| attempt.errors).max().unwrap_or(0);
        job.finished = job.errors == 0;
        job.next_run = attempts.iter().map(|(_, attempt)| attempt.next).filter(|at| *at > Timestamp::MIN).min();
        let failed = attempts.iter().filter(|(_, attempt)| attempt.errors > 0);
        let failures = |(entry, attempt): &(&Arc<StapledCertificate>, Attempt)| {
            (hex(entry), OcspFailures { errors: attempt.errors, next_run: Some(attempt.next) })
        };
        job.ocsp_failures = failed.map(failures).collect();
    }

    fn back_off(&self, failures: u32) -> SignedDuration {
        schedule::back_off(failures, false, self.globals.retry_delay, (self.random)())
    }
}

const ACTIVITY: &str = "Fetching OCSP response";

fn hex(entry: &StapledCertificate) -> String {
    HEXLOWER.encode(&entry.sha1)
}

/// Returns the scheme, host and port of a URL, which name a responder: a failure of one URL there most likely concerns all.
fn origin(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.origin().ascii_serialization())
}

impl Drop for PutBackOnPanic<'_> {
    fn drop(&mut self) {
        let again = self.work.now() + StaplingWork::AFTER_A_PANIC;
        self.work.close(self.entry, |queue, _| queue.put_back(self.entry.index, again));
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.0.worker_lost();
    }
}
