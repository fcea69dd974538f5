//! Renews what is due: a queue ordered by time, which worker threads empty.
//!
//! A worker never sleeps for a CA: a renewal that has to wait goes back to the queue. So a slow CA delays its own
//! domains only, and a few workers serve many renewals.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::accounts::StoredAccounts;
use super::renewal::{self, Begun, Ended, Renewal};
use super::{Entry, Registry, challenges, schedule, staged};
use crate::acme::Outcome;
use crate::cancel::Cancel;
use crate::http::HttpClient;
use crate::log::{note, report};
use crate::model::{Job, ManagedDomain, time};
use crate::store::{Aspect, Group};

/// Makes the HTTP client for one domain's renewal.
pub type Clients = Box<dyn Fn(&ManagedDomain, &Cancel) -> Arc<dyn HttpClient> + Send + Sync>;

/// Gives random numbers in 0..1.
pub type Random = fn() -> f64;

/// All renewals of this process.
pub struct Renewals {
    registry: Arc<Registry>,
    clients: Clients,
    random: Random,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Renewals that wait for their time.
    open: BTreeMap<(Timestamp, u64), Box<Renewal>>,
    /// Domains whose renewal is to begin, by position.
    due: std::collections::VecDeque<usize>,
    /// Domains that are due, open or in the hands of a worker.
    busy: HashSet<usize>,
    /// Renewals that are open or in the hands of a worker, by CA.
    at_ca: HashMap<String, usize>,
    /// When to look at a domain again, by position.
    looks: Vec<Timestamp>,
    /// Failures in a row to begin a renewal, by position. They cannot be in the store: it is what failed.
    not_begun: HashMap<usize, u32>,
    /// When it was last looked whether something is due.
    ticked: Timestamp,
    /// Counts renewals that were put back, so that equal times keep their order.
    turn: u64,
    /// Workers that run.
    workers: usize,
}

enum Task {
    Begin(usize),
    Go(Box<Renewal>),
}

/// What a worker has in its hands, to be given back if it panics. Whoever runs the worker reports the panic.
struct Hands<'a> {
    renewals: &'a Renewals,
    position: Option<usize>,
}

impl Renewals {
    /// Renewals that may be open at one CA at a time.
    const MAX_OPEN_PER_CA: usize = 32;
    /// How long a worker waits before it looks whether it is cancelled.
    const PATIENCE: Duration = Duration::from_millis(100);
    /// When to look again at a domain that another process works on.
    const CLAIMED_ELSEWHERE: SignedDuration = SignedDuration::from_secs(1);

    /// Nothing is due before the first [`Renewals::tick`].
    #[must_use]
    pub fn new(registry: Arc<Registry>, clients: Clients, random: Random) -> Self {
        let looks = vec![Timestamp::MIN; registry.entries.len()];
        Self {
            registry,
            clients,
            random,
            state: Mutex::new(State { looks, ..State::default() }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for domains that are due and queues them. Returns how many workers are to be started for the work there
    /// is. Cheap when it is not yet time to look.
    pub fn tick(&self) -> usize {
        let now = self.registry.clock.now();
        self.heed_clock(now);
        let candidates: Vec<usize> = {
            let state = self.state();
            let free = |position: &usize| state.looks[*position] <= now && !state.busy.contains(position);
            (0..state.looks.len()).filter(free).filter(|position| self.registry.entries[*position].watched).collect()
        };
        if !candidates.is_empty() {
            report!(AH10055, "watchdog run, {} managed domains to look at", candidates.len());
            self.look_at(&candidates, now);
        }
        let mut state = self.state();
        let work = state.due.len() + state.open.len();
        let wanted = work.min(self.registry.globals.renew_workers.get().into());
        let missing = wanted.saturating_sub(state.workers);
        state.workers += missing;
        missing
    }

    /// If the clock was put back, all that was planned is looked at now: it would be late by as much.
    fn heed_clock(&self, now: Timestamp) {
        let mut state = self.state();
        if now < state.ticked {
            state.looks.fill(now);
            let open = std::mem::take(&mut state.open);
            state.open = open.into_iter().map(|((_, turn), renewal)| ((now, turn), renewal)).collect();
            self.changed.notify_all();
        }
        state.ticked = now;
    }

    /// Takes back a worker of [`Renewals::tick`] that could not be started.
    pub fn worker_lost(&self) {
        let mut state = self.state();
        state.workers = state.workers.saturating_sub(1);
    }

    fn look_at(&self, candidates: &[usize], now: Timestamp) {
        let staged: HashSet<String> =
            self.registry.vault.store().list(Group::Staging).unwrap_or_default().into_iter().collect();
        for position in candidates {
            let entry = &self.registry.entries[*position];
            let delay = schedule::check_delay(self.registry.globals.check_interval, (self.random)());
            let is_staged = staged.contains(entry.md.name.as_str());
            let look = if is_staged { self.next_look(entry, now) } else { due_at(entry, now) };
            let is_left = is_staged && challenges::has_left_over(&self.registry.vault, entry.md.name.as_str());
            let mut state = self.state();
            if look <= now || is_left {
                state.busy.insert(*position);
                state.due.push_back(*position);
            }
            state.looks[*position] = if look <= now { now + delay } else { look.min(now + delay) };
        }
        let next = self.state().looks.iter().min().copied();
        if let Some(next) = next {
            report!(AH10107, "next watchdog run at {}", time::format_gmt(next));
        }
        self.changed.notify_all();
    }

    /// When a domain with a renewal in staging is to be worked on. A report from the future is one of a wrong clock.
    fn next_look(&self, entry: &Entry, now: Timestamp) -> Timestamp {
        let due = due_at(entry, now);
        let job: Option<Job> = self.registry.vault.load_json(Group::Staging, entry.md.name.as_str(), &Aspect::JobJson);
        let Some(job) = job.filter(|job| job.last_run.is_none_or(|at| at <= now)) else { return due };
        let settings = renewal::settings(entry, &self.registry.globals);
        let not_before = staged::not_before(&self.registry.vault, &entry.md, &job, &settings);
        not_before.map_or(due, |moment| due.max(moment))
    }

    /// Works until nothing is left to do, or until cancelled. Run by as many threads as [`Renewals::tick`] says.
    pub fn work(&self, cancel: &Cancel) {
        let mut hands = Hands { renewals: self, position: None };
        while let Some(task) = self.next_task(cancel) {
            let (position, renewal) = match task {
                Task::Begin(position) => (position, None),
                Task::Go(renewal) => (renewal.position(), Some(renewal)),
            };
            hands.position = Some(position);
            if let Some(renewal) = renewal.or_else(|| self.begin(position, cancel)) {
                self.go_on(renewal, cancel);
            }
            hands.position = None;
        }
    }

    fn next_task(&self, cancel: &Cancel) -> Option<Task> {
        let mut state = self.state();
        loop {
            if cancel.is_cancelled() || (state.open.is_empty() && state.due.is_empty()) {
                state.workers = state.workers.saturating_sub(1);
                let open = std::mem::take(&mut state.open);
                drop(state);
                open.into_values().for_each(|renewal| self.end(renewal, Ended::Cancelled));
                return None;
            }
            let now = self.registry.clock.now();
            let ready = state.open.first_key_value().map(|((at, _), _)| *at);
            if ready.is_some_and(|at| at <= now) {
                return state.open.pop_first().map(|(_, renewal)| Task::Go(renewal));
            }
            if let Some(position) = self.take_due(&mut state) {
                return Some(Task::Begin(position));
            }
            let wait = ready.map_or(Self::PATIENCE, |at| at.duration_since(now).unsigned_abs().min(Self::PATIENCE));
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The first domain in line whose CA has room for another renewal.
    fn take_due(&self, state: &mut State) -> Option<usize> {
        let ca = |position: usize| self.registry.entries[position].md.ca_url().unwrap_or_default();
        let has_room =
            |position: &usize| state.at_ca.get(ca(*position)).is_none_or(|open| *open < Self::MAX_OPEN_PER_CA);
        let at = state.due.iter().position(has_room)?;
        let position = state.due.remove(at)?;
        *state.at_ca.entry(ca(position).to_owned()).or_default() += 1;
        Some(position)
    }

    fn begin(&self, position: usize, cancel: &Cancel) -> Option<Box<Renewal>> {
        let entry = &self.registry.entries[position];
        let http = (self.clients)(&entry.md, cancel);
        let book = StoredAccounts::new(
            Arc::clone(&self.registry.accounts),
            Arc::clone(&self.registry.vault),
            entry.md.name.as_str(),
        );
        let now = self.registry.clock.now();
        let is_left = challenges::has_left_over(&self.registry.vault, entry.md.name.as_str());
        if is_left && self.next_look(entry, now) > now {
            self.clean_up(position, cancel);
            return None;
        }
        match Renewal::begin(position, entry, &self.registry, Arc::new(book), http, cancel) {
            Ok(Begun::Renewal(renewal)) => {
                report!(AH10052, "{}: is being renewed, state {:?}", entry.md.name, entry.md.state);
                self.state().not_begun.remove(&position);
                return Some(renewal);
            }
            Ok(Begun::Complete) => self.close(position, None),
            Ok(Begun::ClaimedElsewhere) => self.close(position, Some(now + Self::CLAIMED_ELSEWHERE)),
            Err(err) => {
                report!(AH10056, err.status; "processing {}: {err}", entry.md.name);
                let failures = {
                    let mut state = self.state();
                    let failures = state.not_begun.entry(position).or_default();
                    *failures = failures.saturating_add(1);
                    *failures
                };
                self.close(position, Some(now + self.back_off(failures, false)));
            }
        }
        None
    }

    /// The domain is not due, but an earlier renewal has left what its commands had set up.
    fn clean_up(&self, position: usize, cancel: &Cancel) {
        let (entry, now) = (&self.registry.entries[position], self.registry.clock.now());
        let again = match challenges::clean_up(&self.registry, &entry.md, cancel) {
            Ok(true) => None,
            Ok(false) => Some(Self::CLAIMED_ELSEWHERE),
            Err(_) if cancel.is_cancelled() => None,
            Err(err) => {
                note!(Warning, err.status; "{}: what an earlier renewal has set up is not taken away: {err}", entry.md.name);
                Some(self.back_off(1, false))
            }
        };
        self.close(position, again.map(|delay| now + delay));
    }

    fn go_on(&self, mut renewal: Box<Renewal>, cancel: &Cancel) {
        let result = loop {
            if renewal.clock_was_put_back() {
                break Ended::Cancelled;
            }
            match renewal.step() {
                Ok(Outcome::Continue) if cancel.is_cancelled() => break Ended::Cancelled,
                Ok(Outcome::Continue) => {}
                Ok(Outcome::Wait(until)) => return self.put_back(renewal, until),
                Ok(Outcome::Done) => break Ended::Done,
                Err(err) if err.is_cancelled() || cancel.is_cancelled() => break Ended::Cancelled,
                Err(err) => break Ended::Failed(err),
            }
        };
        self.end(renewal, result);
    }

    /// Closes a renewal. Its claim goes with it, so that the next generation of the server can go on at once.
    fn end(&self, mut renewal: Box<Renewal>, ended: Ended) {
        let position = renewal.position();
        let look = renewal.end(ended, |failures, permanent| self.back_off(failures, permanent));
        drop(renewal);
        self.close(position, look);
    }

    fn back_off(&self, failures: u32, permanent: bool) -> SignedDuration {
        schedule::back_off(failures, permanent, self.registry.globals.retry_delay, (self.random)())
    }

    fn put_back(&self, renewal: Box<Renewal>, until: Timestamp) {
        let mut state = self.state();
        state.turn += 1;
        let key = (until, state.turn);
        state.open.insert(key, renewal);
        drop(state);
        self.changed.notify_one();
    }

    /// The domain is free again, and looked at again at that time instead of when it was planned: a report that could
    /// not be written does not make it wait.
    fn close(&self, position: usize, look: Option<Timestamp>) {
        let mut state = self.state();
        state.busy.remove(&position);
        if let Some(look) = look {
            state.looks[position] = look;
        }
        let ca = self.registry.entries[position].md.ca_url().unwrap_or_default();
        if let Some(open) = state.at_ca.get_mut(ca) {
            *open = open.saturating_sub(1);
        }
        drop(state);
        self.changed.notify_one();
    }
}

impl Drop for Hands<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.renewals.worker_lost();
            if let Some(position) = self.position {
                self.renewals.close(position, None);
            }
        }
    }
}

fn due_at(entry: &Entry, now: Timestamp) -> Timestamp {
    if entry.renewable() { entry.renew_at(now) } else { Timestamp::MAX }
}
