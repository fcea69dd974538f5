//! Fetches responses that are due, in one process of the server: stores them, has the others know, and tells the administrator.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::queue::{Attempt, Failure, Queue};
use super::stored::{self, Found, word};
use super::{Entry, OTHER, Stapling};
use crate::cancel::Cancel;
use crate::crypto::Revocation;
use crate::http::HttpClient;
use crate::log::{note, report};
use crate::model::{DomainName, Job, JobResult, ManagedDomain, OcspFailures, time};
use crate::ocsp::{self, FetchError, Fetched};
use crate::registry::events::{About, Event, Events};
use crate::registry::renewals::Random;
use crate::registry::{Registry, schedule};
use crate::store::{Aspect, Group};

/// Makes the HTTP client of a worker.
pub type OcspClient = Box<dyn Fn(&Cancel) -> Arc<dyn HttpClient> + Send + Sync>;

/// All fetching of this process.
pub struct StaplingWork {
    registry: Arc<Registry>,
    client: OcspClient,
    random: Random,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while a report is written, so that no older one takes the place of a newer.
    saving: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// `None` before the first look.
    queue: Option<Queue>,
    jobs: HashMap<String, OwnJob>,
    workers: usize,
    /// When it was last looked whether something is due.
    ticked: Timestamp,
}

/// The report on the certificates of one owner.
struct OwnJob {
    job: Job,
    /// A command is being told of an event.
    telling: bool,
    saved: Timestamp,
    unsaved: bool,
}

/// A certificate in the hands of a worker, to be given back if that panics.
struct Hand<'a> {
    work: &'a StaplingWork,
    index: usize,
}

/// A worker, to be counted out if it panics.
struct Worker<'a>(&'a StaplingWork);

impl StaplingWork {
    /// How long a worker waits before it looks whether it is cancelled.
    const PATIENCE: Duration = Duration::from_millis(100);
    /// How often the report of an owner with many certificates is written while they are fetched.
    const SAVE_PAUSE: SignedDuration = SignedDuration::from_secs(1);
    /// When to fetch again what made a worker panic.
    const AFTER_A_PANIC: SignedDuration = SignedDuration::from_hours(24);

    /// Nothing is due before the first [`StaplingWork::tick`].
    #[must_use]
    pub fn new(registry: Arc<Registry>, client: OcspClient, random: Random) -> Self {
        Self { registry, client, random, state: Mutex::default(), changed: Condvar::new(), saving: Mutex::default() }
    }

    fn stapling(&self) -> &Stapling {
        &self.registry.stapling
    }

    fn now(&self) -> Timestamp {
        self.registry.clock.now()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for responses that are due and puts them in line. Returns how many workers are to be started for them, so that
    /// there are `MDRenewWorkers` at most. Cheap when it is not yet time to look; to be called every second.
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
        let Some(queue) = &mut state.queue else { return 0 };
        if queue.next_look() <= now {
            let entries = &self.stapling().entries;
            // Responders forget certificates that have expired.
            let count = queue.look(now, |index| entries[index].leaf.not_after() > now);
            if count > 0 {
                report!(AH10198, "OCSP watchdog run, {count} responses to fetch");
            }
            report!(AH10199, "next OCSP watchdog run at {}", time::format_gmt(queue.next_look()));
        }
        let wanted = queue.open().min(self.registry.globals.renew_workers.get().into());
        let missing = wanted.saturating_sub(state.workers);
        state.workers += missing;
        missing
    }

    /// Takes back a worker of [`StaplingWork::tick`] that could not be started.
    pub fn worker_lost(&self) {
        let mut state = self.state();
        state.workers = state.workers.saturating_sub(1);
    }

    /// Plans all from what is known now: at first, and when the clock was put back, as all plans would be late by as much.
    fn begin(&self, now: Timestamp) {
        let stapling = self.stapling();
        let known: HashSet<String> =
            self.registry.vault.store().list(Group::Ocsp).unwrap_or_default().into_iter().collect();
        let load = |owner: &String| {
            let job = Some(owner).filter(|owner| known.contains(*owner));
            let job = job.and_then(|owner| self.registry.vault.load_json(Group::Ocsp, owner, &Aspect::JobJson));
            let job = Job { name: owner.clone(), ..job.unwrap_or_default() };
            (owner.clone(), OwnJob { job, telling: false, saved: Timestamp::MIN, unsaved: false })
        };
        let mut state = self.state();
        if state.jobs.is_empty() {
            state.jobs = stapling.by_owner.keys().map(load).collect();
        }
        if state.queue.as_ref().is_some_and(|queue| queue.open() > 0) {
            // Those at work come to their end first.
            return;
        }
        let is_restart = stapling.is_restart || state.queue.is_some();
        let first = |entry: &Entry| {
            let failed = state.jobs.get(entry.owner()).and_then(|own| own.job.ocsp_failures.get(&hex(entry)));
            Attempt::first(&entry.held(), failed, stapling.window, is_restart, now)
        };
        let responders: Vec<String> = stapling.entries.iter().map(|entry| origin(&entry.responder)).collect();
        let all = responders.iter().map(String::as_str).zip(stapling.entries.iter().map(first));
        let queue = Queue::new(all);
        state.queue = Some(queue);
    }

    /// Works until nothing is left to do, or until cancelled. Run by as many threads as [`StaplingWork::tick`] says.
    pub fn work(&self, cancel: &Cancel) {
        let _worker = Worker(self);
        let (http, events) = ((self.client)(cancel), Events::new(&self.registry.globals, cancel));
        while let Some(index) = self.next_task(cancel) {
            let hand = Hand { work: self, index };
            self.serve(index, &*http, &events);
            std::mem::forget(hand);
            self.changed.notify_all();
        }
        let unsaved = |(owner, own): (&String, &OwnJob)| own.unsaved.then(|| owner.clone());
        let owners: Vec<String> = self.state().jobs.iter().filter_map(unsaved).collect();
        owners.iter().for_each(|owner| self.save(owner, true));
    }

    fn next_task(&self, cancel: &Cancel) -> Option<usize> {
        let mut state = self.state();
        loop {
            let queue = state.queue.as_mut()?;
            if cancel.is_cancelled() {
                queue.clear();
                return None;
            }
            if let Some(index) = queue.take() {
                return Some(index);
            }
            if !queue.is_waiting() {
                return None;
            }
            state = self.changed.wait_timeout(state, Self::PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn serve(&self, index: usize, http: &dyn HttpClient, events: &Events) {
        if self.has_another_process_fetched(index) {
            return;
        }
        let (entry, now) = (&self.stapling().entries[index], self.now());
        match ocsp::fetch(http, &entry.responder, &entry.leaf, &entry.issuer, now) {
            Ok(fetched) => self.succeeded(index, fetched, events),
            Err(err) if err.is_cancelled() => self.close(index, |queue, _| queue.put_back(index, now)),
            Err(err) => self.failed(index, &err, events),
        }
    }

    /// The last generation of the server may have been at work after this one had read the store.
    fn has_another_process_fetched(&self, index: usize) -> bool {
        let (stapling, entry, now) = (self.stapling(), &self.stapling().entries[index], self.now());
        let written = self.registry.vault.store().modified(Group::Ocsp, entry.owner(), &Aspect::OcspJson(entry.sha1));
        if written.is_none() || written == entry.held().written {
            return false;
        }
        let Found::Held(held) = stapling.look(index) else { return false };
        let opens = held.validity.filter(|_| held.is_good(now)).map(|(from, until)| stapling.window.opens(from, until));
        let Some(next) = opens.filter(|opens| *opens > now) else { return false };
        stapling.hold(index, held);
        stapling.announce(index);
        self.close(index, |queue, _| queue.put_back(index, next));
        true
    }

    fn succeeded(&self, index: usize, fetched: Fetched, events: &Events) {
        let (stapling, entry, now) = (self.stapling(), &self.stapling().entries[index], self.now());
        let (revocation, validity) = (fetched.revocation, fetched.validity);
        let was_revoked = entry.is_revoked();
        let (held, saved) = stored::save(&self.registry.vault, entry, fetched);
        stapling.hold(index, held);
        stapling.announce(index);
        if let Err(err) = saved {
            report!(MD0028, err.status; "{}: an OCSP response is known to one process only: {err}", entry.owner());
        }
        let next = ocsp::next_fetch(validity, stapling.window, self.registry.globals.retry_delay, now);
        let detail = format!(
            "OCSP status of certificate {} is '{}' until {}",
            entry.serial(),
            word(revocation),
            time::format_gmt(validity.1)
        );
        note!(Info, "{}: {detail}, the next response is fetched at {}", entry.owner(), time::format_gmt(next));
        self.close(index, |queue, job| {
            queue.succeeded(index, next);
            job.last_run = Some(now);
            job.last =
                Some(JobResult { activity: Some(ACTIVITY.to_owned()), detail: Some(detail), ..JobResult::default() });
        });
        if revocation == Revocation::Revoked && !was_revoked {
            stapling.tell_revoked(index);
            self.tell(index, Event::OcspRevoked, events);
        }
        self.tell(index, Event::OcspRenewed, events);
        self.save(entry.owner(), false);
    }

    fn failed(&self, index: usize, err: &FetchError, events: &Events) {
        let (entry, now) = (&self.stapling().entries[index], self.now());
        let failure = Failure { of_responder: err.is_of_responder(), retry_after: err.retry_after() };
        let (mut others, mut next) = (0, now);
        let text = format!("no OCSP response for certificate {}: {err}", entry.serial());
        self.close(index, |queue, job| {
            others = queue.failed(index, failure, now, |failures| self.back_off(failures));
            next = queue.attempt(index).next;
            job.last_run = Some(now);
            job.last = Some(JobResult {
                activity: Some(ACTIVITY.to_owned()),
                ..JobResult::failure(err.status(), text.clone())
            });
            job.record(now, "ocsp-error", Some(err.status().text()), Some(&text));
        });
        let meanwhile = match entry.held().validity.filter(|(_, until)| *until > now) {
            Some((_, until)) => format!("the present one is good until {}", time::format_gmt(until)),
            None => "nothing is stapled meanwhile".to_owned(),
        };
        let waiting = if others > 0 { format!(", {others} others wait for the responder") } else { String::new() };
        report!(
            MD0031,
            err.status();
            "{}: {text}, next attempt at {}, {meanwhile}{waiting}", entry.owner(), time::format_gmt(next)
        );
        self.tell(index, Event::OcspErrored, events);
        self.save(entry.owner(), false);
    }

    /// Ends the work on a certificate.
    fn close(&self, index: usize, end: impl FnOnce(&mut Queue, &mut Job)) {
        let mut state = self.state();
        let State { queue: Some(queue), jobs, .. } = &mut *state else { return };
        let Some(own) = jobs.get_mut(self.stapling().entries[index].owner()) else { return };
        end(queue, &mut own.job);
    }

    /// Runs the commands for an event, unless that was done a while ago or is being done: an owner may have many certificates.
    fn tell(&self, index: usize, event: Event<'_>, events: &Events) {
        let (entry, now) = (&self.stapling().entries[index], self.now());
        let mut told = {
            let mut state = self.state();
            let Some(own) = state.jobs.get_mut(entry.owner()) else { return };
            if own.telling {
                return;
            }
            if let Some(until) = event.not_before(&own.job, self.registry.globals.retry_delay, now) {
                let (reason, until) = (event.reason(), time::format_gmt(until));
                return report!(AH10267, "{}: '{reason}' is not told again before {until}", entry.owner());
            }
            own.telling = true;
            Job { log: None, ..own.job.clone() }
        };
        let about = self.about(entry);
        let certificates = [Some(entry.leaf.summary())];
        // What fails is in the report, and told by the events.
        let _ = events.raise(event, &About { md: &about, certificates: &certificates }, &mut told, now);
        let mut state = self.state();
        let Some(own) = state.jobs.get_mut(entry.owner()) else { return };
        own.telling = false;
        for line in told.log.iter().flat_map(|log| &log.entries).rev() {
            own.job.record(line.when.unwrap_or(now), &line.kind, line.status.as_deref(), line.detail.as_deref());
        }
    }

    /// The domain that an event is about; of certificates that have none, one that has their names.
    fn about(&self, entry: &Entry) -> Arc<ManagedDomain> {
        let known = self.registry.entries.iter().find(|known| Some(&known.md.name) == entry.owner.as_ref());
        if let Some(known) = known {
            return Arc::clone(&known.md);
        }
        let names = entry.leaf.names();
        let mut domains: Vec<DomainName> = names.iter().filter_map(|name| DomainName::parse(name).ok()).collect();
        domains.extend(DomainName::parse(OTHER).ok().filter(|_| domains.is_empty()));
        let md = ManagedDomain::new(domains).expect("there is one name at least, as `other` is one");
        Arc::new(ManagedDomain { name: DomainName::parse(OTHER).unwrap_or(md.name), ..md })
    }

    /// Writes the report of an owner; not again within a second unless it `must` be, as an owner may have many certificates.
    fn save(&self, owner: &str, must: bool) {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        let job = {
            let mut state = self.state();
            let State { queue: Some(queue), jobs, .. } = &mut *state else { return };
            let Some(own) = jobs.get_mut(owner) else { return };
            own.unsaved = !must && own.saved <= now && now < own.saved + Self::SAVE_PAUSE;
            if own.unsaved {
                return;
            }
            own.saved = now;
            self.complete(&mut own.job, self.stapling().by_owner.get(owner).map_or(&[], Vec::as_slice), queue);
            own.job.clone()
        };
        if let Err(err) = self.registry.vault.save_json(Group::Ocsp, owner, &Aspect::JobJson, &job) {
            report!(MD0028, err.status; "{owner}: {err}");
        }
    }

    fn complete(&self, job: &mut Job, members: &[usize], queue: &Queue) {
        let attempts = || members.iter().map(|index| (*index, queue.attempt(*index)));
        job.errors = attempts().map(|(_, attempt)| attempt.errors).max().unwrap_or(0);
        job.finished = job.errors == 0;
        job.next_run = attempts().map(|(_, attempt)| attempt.next).filter(|at| *at > Timestamp::MIN).min();
        let failed = attempts().filter(|(_, attempt)| attempt.errors > 0);
        let failures = |(index, attempt): (usize, Attempt)| {
            let failures = OcspFailures { errors: attempt.errors, next_run: Some(attempt.next) };
            (hex(&self.stapling().entries[index]), failures)
        };
        job.ocsp_failures = failed.map(failures).collect();
    }

    fn back_off(&self, failures: u32) -> SignedDuration {
        schedule::back_off(failures, false, self.registry.globals.retry_delay, (self.random)())
    }
}

const ACTIVITY: &str = "Fetching OCSP response";

fn hex(entry: &Entry) -> String {
    HEXLOWER.encode(&entry.sha1)
}

/// Scheme, host and port: what fails for one URL there most likely fails for all.
fn origin(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.origin().ascii_serialization())
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        let again = self.work.now() + StaplingWork::AFTER_A_PANIC;
        self.work.close(self.index, |queue, _| queue.put_back(self.index, again));
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.0.worker_lost();
    }
}
