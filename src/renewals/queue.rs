//! Renews what is due: a queue ordered by time, which worker threads empty.
//!
//! A worker never sleeps for a CA: a renewal that has to wait goes back to the queue. So a slow CA delays its own
//! domains only, and a few workers serve many renewals. However many domains are due at once, a CA sees at most
//! [`CaLimits::MOST_OPEN`] of them at a time, and none begins while it wants to be left alone.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::ari::Advisor;
use super::renewal;
use super::renewal::{Begun, Ended, Renewal};
use crate::accounts::StoredAccounts;
use crate::acme::{AcmeError, PortError};
use crate::cancel::Cancel;
use crate::events::{About, Event};
use crate::http::HttpClient;
use crate::issuance::Outcome;
use crate::log::{note, report};
use crate::model::{Job, JobResult, ManagedDomain, State as Worth, time};
use crate::registry::{Domain, NextCa, Registry};
use crate::schedule;
use crate::schedule::{CaLimits, Random};
use crate::sets::{Advice, order, staged};
use crate::store::{Aspect, Group};

/// Makes the HTTP client for one domain's renewal.
pub type Clients = Box<dyn Fn(&ManagedDomain, &Cancel) -> Arc<dyn HttpClient> + Send + Sync>;

/// All renewals of this process.
pub struct Renewals {
    registry: Arc<Registry>,
    clients: Clients,
    random: Random,
    state: Mutex<State>,
    changed: Condvar,
    advisor: Advisor,
}

#[derive(Default)]
struct State {
    /// Renewals that wait for their time.
    open: BTreeMap<(Timestamp, u64), Box<Renewal>>,
    /// What is to begin and what is open, by directory URL.
    cas: BTreeMap<String, AtCa>,
    /// Domains that are due, open or in the hands of a worker.
    busy: HashSet<usize>,
    /// The CAs that renewals which are open or in the hands of a worker go to, by position.
    begun_at: HashMap<usize, String>,
    /// Domains that can use dns-01 only, by position.
    dns_only: HashSet<usize>,
    /// When to look at a domain again, by position. Empty until the first look: the parent does not look.
    looks: Vec<Timestamp>,
    /// Reports on failures in a row to begin a renewal, by position. They may be missing in the store: it is what failed.
    not_begun: HashMap<usize, Job>,
    /// Domains that somebody else has renewed, by position, as far as that was told.
    elsewhere: HashSet<usize>,
    /// When it was last looked whether something is due.
    ticked: Timestamp,
    /// How many certificates were known to be revoked then.
    findings: u32,
    /// Domains whose CA is to be asked when to renew, by position.
    asks: std::collections::VecDeque<usize>,
    /// A worker asks, and has no hand for a renewal.
    asking: bool,
    /// Domains whose certificates are near their end, by position. They are not busy: a renewal that comes due goes first.
    warnings: VecDeque<usize>,
    /// A worker warns: one at a time, so that commands that hang leave workers for renewals.
    warning: bool,
    /// When to ask again, by position.
    ask_again: HashMap<usize, Timestamp>,
    /// Counts renewals that were put back, so that equal times keep their order.
    turn: u64,
    /// Workers that run.
    workers: usize,
}

/// One CA as all renewals see it.
#[derive(Default)]
struct AtCa {
    limits: CaLimits,
    /// Domains whose renewal is to begin, by position.
    due: VecDeque<usize>,
    /// What renewals had left at their end, and when.
    nonces: Vec<(Timestamp, String)>,
}

enum Task {
    Begin(usize, Option<String>),
    Go(Box<Renewal>),
    Ask(usize),
    Warn(usize),
}

/// What a worker has in its hands, to be given back if it panics. Whoever runs the worker reports the panic.
struct Hands<'a> {
    renewals: &'a Renewals,
    held: Option<Held>,
}

#[derive(Clone, Copy)]
enum Held {
    Renewal(usize),
    Question(usize),
    Warning(usize),
}

impl Renewals {
    /// How long a worker waits before it looks whether it is cancelled. Clocks of tests move when they are looked at.
    const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });
    /// When to look again at a domain that another process works on.
    const CLAIMED_ELSEWHERE: SignedDuration = SignedDuration::from_secs(1);
    /// Renewals that wait for commands in the DNS may be this many. Commands run one at a time, and one that hangs is not to
    /// keep those that need none from their CA.
    const MOST_DNS_ONLY: usize = 4;
    /// CAs forget nonces; one that is refused costs a request more than none.
    const NONCES_LAST: SignedDuration = SignedDuration::from_secs(30);
    /// When to ask a CA again if an answer of it made a worker panic.
    const AFTER_A_PANIC: SignedDuration = SignedDuration::from_hours(24);

    /// Nothing is due before the first [`Renewals::tick`].
    #[must_use]
    pub fn new(registry: Arc<Registry>, clients: Clients, random: Random) -> Self {
        let is_dns_only =
            |domain: &Domain| matches!(&*domain.challenges, Ok(types) if types.iter().all(|kind| kind.needs_command()));
        let domains = registry.domains.iter().enumerate();
        let dns_only = domains.filter(|(_, domain)| is_dns_only(domain)).map(|(position, _)| position).collect();
        Self {
            registry,
            clients,
            random,
            state: Mutex::new(State { dns_only, ..State::default() }),
            changed: Condvar::new(),
            advisor: Advisor::default(),
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
        self.heed_revocations(now);
        let candidates: Vec<usize> = {
            let state = self.state();
            let free = |position: &usize| state.looks[*position] <= now && !state.busy.contains(position);
            (0..state.looks.len()).filter(free).filter(|position| self.registry.domains[*position].watched).collect()
        };
        if !candidates.is_empty() {
            report!(AH10055, "watchdog run, {} managed domains to look at", candidates.len());
            self.look_at(&candidates, now);
        }
        let mut state = self.state();
        let work = state.due() + state.open.len() + usize::from(state.warning || !state.warnings.is_empty());
        let asking = state.asking || !state.asks.is_empty();
        let wanted = work.min(self.registry.globals.renew_workers.get().into()) + usize::from(asking);
        let missing = wanted.saturating_sub(state.workers);
        state.workers += missing;
        missing
    }

    /// If the clock was put back, all that was planned is looked at now: it would be late by as much.
    fn heed_clock(&self, now: Timestamp) {
        let mut state = self.state();
        state.looks.resize(self.registry.domains.len(), Timestamp::MIN);
        if now < state.ticked {
            state.looks.fill(now);
            state.ask_again.clear();
            let open = std::mem::take(&mut state.open);
            state.open = open.into_iter().map(|((_, turn), renewal)| ((now, turn), renewal)).collect();
            state.cas.values_mut().for_each(|ca| ca.limits.forget_plans());
            self.changed.notify_all();
        }
        state.ticked = now;
    }

    /// Domains whose certificate was found to be revoked, here or by another process, are looked at now.
    fn heed_revocations(&self, now: Timestamp) {
        let stapling = &self.registry.stapling;
        stapling.refresh();
        let findings = stapling.findings();
        let mut state = self.state();
        if std::mem::replace(&mut state.findings, findings) == findings {
            return;
        }
        for (position, domain) in self.registry.domains.iter().enumerate().filter(|(_, domain)| domain.is_revoked()) {
            note!(Debug, "{}: has a certificate that is revoked", domain.md.name);
            state.looks[position] = now;
        }
    }

    /// Takes back a worker of [`Renewals::tick`] that could not be started.
    pub fn worker_lost(&self) {
        let mut state = self.state();
        state.workers = state.workers.saturating_sub(1);
    }

    fn look_at(&self, candidates: &[usize], now: Timestamp) {
        let staged: HashSet<String> =
            self.registry.documents.store().list(Group::Staging).unwrap_or_default().into_iter().collect();
        for position in candidates {
            let domain = &self.registry.domains[*position];
            let delay = schedule::check_delay(self.registry.globals.check_interval, (self.random)());
            let is_staged = staged.contains(domain.md.name.as_str());
            let next_ca =
                if is_staged { NextCa::read(&self.registry.documents, &domain.md) } else { NextCa::default() };
            let advice = if is_staged { Advice::load(&self.registry.documents, &domain.md) } else { Advice::default() };
            let due = due_at(domain, &advice, self.registry.globals.check_interval, now);
            let due = if self.is_to_be_told(*position, &next_ca.job) { now } else { due };
            let (ca, look) = self.next_look(domain, &next_ca, due, now);
            let is_left = is_staged && order::has_left_over(&self.registry.documents, domain.md.name.as_str());
            let mut state = self.state();
            let ask = (due > now && domain.renewable() && domain.asks_ca())
                .then(|| advice.due(now))
                .map(|at| state.ask_again.get(position).map_or(at, |again| at.max(*again)));
            let at_ca = state.cas.entry(ca).or_default();
            let look = at_ca.limits.paused_until(now).map_or(look, |until| look.max(until));
            let warn = domain.warn_at(&next_ca.job, self.registry.globals.retry_delay, now);
            if look <= now || is_left {
                at_ca.due.push_back(*position);
                state.busy.insert(*position);
            } else if ask.is_some_and(|at| at <= now) {
                state.busy.insert(*position);
                state.asks.push_back(*position);
            }
            if look > now && warn.is_some_and(|at| at <= now) && !state.warnings.contains(position) {
                state.warnings.push_back(*position);
            }
            let next = if look <= now { now + delay } else { look.min(now + delay) };
            let next = next.min(warn.filter(|at| *at > now).unwrap_or(next));
            state.looks[*position] = next.min(ask.filter(|at| *at > now).unwrap_or(next));
        }
        let next = self.state().looks.iter().min().copied();
        if let Some(next) = next {
            report!(AH10107, "next watchdog run at {}", time::format_gmt(next));
        }
        self.changed.notify_all();
    }

    /// Whether a renewal has ended of which commands have not been told. What is live is not due any more, but they are to know.
    fn is_to_be_told(&self, position: usize, job: &Job) -> bool {
        let domain = &self.registry.domains[position];
        let is_open = self.registry.live_sets.goes_live(position) && job.finished && !job.notified_renewed;
        is_open
            && domain.renewable()
            && domain.has_nothing_new_in(&staged::leaves(&self.registry.documents, &domain.md))
    }

    /// When a domain with something in staging is to be worked on.
    fn look_of(&self, domain: &Domain, now: Timestamp) -> Timestamp {
        let documents = &self.registry.documents;
        let (next_ca, advice) = (NextCa::read(documents, &domain.md), Advice::load(documents, &domain.md));
        self.next_look(domain, &next_ca, due_at(domain, &advice, self.registry.globals.check_interval, now), now).1
    }

    /// Which CA a domain is to go to, and when.
    fn next_look(&self, domain: &Domain, next_ca: &NextCa, due: Timestamp, now: Timestamp) -> (String, Timestamp) {
        let globals = &self.registry.globals;
        let next = next_ca.next(&domain.md, globals.retry_failover, now);
        let settings = renewal::settings(domain, globals);
        let not_before = next_ca.not_before(&domain.md, &settings, globals.retry_failover, now);
        (next.map(|next| next.url).unwrap_or_default(), not_before.map_or(due, |moment| due.max(moment)))
    }

    /// Works until nothing is left to do, or until cancelled. Run by as many threads as [`Renewals::tick`] says.
    pub fn work(&self, cancel: &Cancel) {
        let mut hands = Hands { renewals: self, held: None };
        while let Some(task) = self.next_task(cancel) {
            let (position, renewal, nonce) = match task {
                Task::Begin(position, nonce) => (position, None, nonce),
                Task::Go(renewal) => (renewal.position(), Some(renewal), None),
                Task::Ask(position) => {
                    hands.held = Some(Held::Question(position));
                    self.asked(position, self.ask(position, cancel));
                    hands.held = None;
                    continue;
                }
                Task::Warn(position) => {
                    hands.held = Some(Held::Warning(position));
                    self.warned(position, self.warn(position, cancel));
                    hands.held = None;
                    continue;
                }
            };
            hands.held = Some(Held::Renewal(position));
            if let Some(renewal) = renewal.or_else(|| self.begin(position, nonce, cancel)) {
                self.go_on(renewal, cancel);
            }
            hands.held = None;
        }
    }

    fn next_task(&self, cancel: &Cancel) -> Option<Task> {
        let mut state = self.state();
        loop {
            let may_ask = !state.asking && !state.asks.is_empty();
            let may_warn = !state.warning && !state.warnings.is_empty();
            if cancel.is_cancelled() || (state.open.is_empty() && state.due() == 0 && !may_ask && !may_warn) {
                state.workers = state.workers.saturating_sub(1);
                let open = std::mem::take(&mut state.open);
                drop(state);
                open.into_values().for_each(|renewal| self.end(renewal, Ended::Cancelled));
                return None;
            }
            // One worker more than there may be for renewals is there for questions.
            let is_extra = state.workers > self.registry.globals.renew_workers.get().into() && !state.asking;
            if is_extra && !may_ask {
                state.workers -= 1;
                return None;
            }
            let now = self.registry.clock.now();
            let ready = state.open.first_key_value().map(|((at, _), _)| *at);
            if !is_extra && ready.is_some_and(|at| at <= now) {
                return state.open.pop_first().map(|(_, renewal)| Task::Go(renewal));
            }
            let due = if is_extra { None } else { state.take_due(now) };
            if let Some((position, nonce)) = due {
                return Some(Task::Begin(position, nonce));
            }
            if may_warn && !is_extra {
                if let Some(position) = state.take_warning() {
                    return Some(Task::Warn(position));
                }
                continue;
            }
            if may_ask {
                state.asking = true;
                return state.asks.pop_front().map(Task::Ask);
            }
            let patience = if state.due() == 0 { Self::PATIENCE } else { CaLimits::GAP_WITH_NONCE.unsigned_abs() };
            let wait = ready.map_or(patience, |at| at.duration_since(now).unsigned_abs().min(patience));
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn begin(&self, position: usize, nonce: Option<String>, cancel: &Cancel) -> Option<Box<Renewal>> {
        let domain = &self.registry.domains[position];
        let http = (self.clients)(&domain.md, cancel);
        let book = StoredAccounts::new(
            Arc::clone(&self.registry.accounts),
            Arc::clone(&self.registry.documents),
            domain.md.name.as_str(),
        );
        let now = self.registry.clock.now();
        let is_left = order::has_left_over(&self.registry.documents, domain.md.name.as_str());
        if is_left && self.look_of(domain, now) > now {
            self.clean_up(position, cancel);
            return None;
        }
        match Renewal::begin(position, domain, &self.registry, Arc::new(book), http, true, cancel) {
            Ok(Begun::Renewal(mut renewal)) => {
                report!(AH10052, "{}: is being renewed, state {:?}", domain.md.name, domain.md.state);
                let mut state = self.state();
                state.not_begun.remove(&position);
                if state.goes_to(position, renewal.ca_url(), now) {
                    renewal.set_nonce(nonce);
                }
                return Some(renewal);
            }
            Ok(Begun::Complete | Begun::NotDue | Begun::Denied) => self.settle(position, None),
            Ok(Begun::RenewedElsewhere) => {
                if self.state().elsewhere.insert(position) {
                    report!(
                        MD0058,
                        "{}: another server that uses this store, or a2md, has renewed it; a graceful restart of this server is \
                         all that is needed",
                        domain.md.name
                    );
                }
                self.settle(position, None);
            }
            Ok(Begun::CompleteFrom(at)) => self.settle(position, Some(at)),
            Ok(Begun::ClaimedElsewhere) => self.close(position, Some(now + Self::CLAIMED_ELSEWHERE)),
            Err(err) => self.close(position, Some(self.not_begun(position, err, cancel))),
        }
        None
    }

    /// Tells that a renewal cannot even begin. Returns when to try again.
    fn not_begun(&self, position: usize, err: PortError, cancel: &Cancel) -> Timestamp {
        let (domain, now) = (&self.registry.domains[position], self.registry.clock.now());
        let (documents, name) = (&self.registry.documents, domain.md.name.as_str());
        let known = self.state().not_begun.remove(&position);
        let stored = || documents.load_json(Group::Staging, name, &Aspect::JobJson).unwrap_or_default();
        let mut job = Job { name: name.to_owned(), ..known.unwrap_or_else(stored) };
        job.errors = job.errors.saturating_add(1);
        let next = now
            + domain.delay_for_short_life(
                self.back_off(job.errors, false),
                false,
                self.registry.globals.retry_delay,
                now,
            );
        let result = JobResult::failure(err.status, PortError::PROBLEM, err.text);
        report!(AH10056, err.status; "processing {name}: {}", result.to_log(name));
        job.record(now, "renewal-error", result.problem.as_deref(), result.detail.as_deref());
        (job.next_run, job.last) = (Some(next), Some(result));
        let about = About { md: &domain.md, certificates: &domain.served().certificates };
        // One error is enough for a run.
        let _ = self.registry.events(cancel).raise(Event::Errored, &about, &mut job, now);
        if let Ok(Some(_claim)) = documents.store().claim(name) {
            // It is the store that fails, though perhaps not for this file.
            let _ = documents.save_json(Group::Staging, name, &Aspect::JobJson, &job);
        }
        self.state().not_begun.insert(position, job);
        next
    }

    /// Warns of the end of a domain's certificates. Returns when to look again if that is not when it was planned.
    fn warn(&self, position: usize, cancel: &Cancel) -> Option<Timestamp> {
        let (domain, now) = (&self.registry.domains[position], self.registry.clock.now());
        match renewal::warn_of(domain, &self.registry, cancel) {
            Ok(true) => {
                let (documents, name) = (&self.registry.documents, domain.md.name.as_str());
                let job = documents.load_json(Group::Staging, name, &Aspect::JobJson).unwrap_or_default();
                domain.warn_at(&job, self.registry.globals.retry_delay, now).filter(|at| *at > now)
            }
            Ok(false) => Some(now + Self::CLAIMED_ELSEWHERE),
            Err(err) => {
                note!(Error, err.status; "{}: the report on what was told cannot be written: {err}", domain.md.name);
                None
            }
        }
    }

    /// The domain is free, and looked at no later than that.
    fn warned(&self, position: usize, again: Option<Timestamp>) {
        let mut state = self.state();
        state.warning = false;
        state.busy.remove(&position);
        let planned = state.looks[position];
        state.looks[position] = again.map_or(planned, |at| at.min(planned));
        drop(state);
        self.changed.notify_all();
    }

    /// Asks the CA when to renew a domain. It takes its turn after the renewals: nobody waits for the answer.
    fn ask(&self, position: usize, cancel: &Cancel) -> Timestamp {
        let domain = &self.registry.domains[position];
        let http = (self.clients)(&domain.md, cancel);
        self.advisor.ask(&self.registry, domain, &http, self.random)
    }

    /// The domain is free, and looked at at once: what the CA said may make it due.
    fn asked(&self, position: usize, again: Timestamp) {
        let now = self.registry.clock.now();
        let mut state = self.state();
        state.asking = false;
        state.busy.remove(&position);
        state.ask_again.insert(position, again);
        state.looks[position] = now;
    }

    /// The domain is not due, but an earlier renewal has left what its commands had set up.
    fn clean_up(&self, position: usize, cancel: &Cancel) {
        let (domain, now) = (&self.registry.domains[position], self.registry.clock.now());
        let again = match self.registry.challenges.clean_up(&domain.md, self.registry.events(cancel), cancel) {
            Ok(true) => None,
            Ok(false) => Some(Self::CLAIMED_ELSEWHERE),
            Err(_) if cancel.is_cancelled() => None,
            Err(err) => {
                report!(MD0027, err.status; "{}: what an earlier renewal has set up is not taken away: {err}", domain.md.name);
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
        let nonce = renewal.take_nonce();
        self.hear(renewal.ca_url(), &ended, nonce);
        let is_done = matches!(ended, Ended::Done);
        let look = renewal.end(ended, |failures, permanent| self.back_off(failures, permanent));
        drop(renewal);
        if is_done { self.settle(position, look) } else { self.close(position, look) }
    }

    /// As [`Renewals::close`], but the domain is looked at as soon as what is live now comes due: its life may be shorter than
    /// the time between two checks.
    fn settle(&self, position: usize, look: Option<Timestamp>) {
        let planned = look.unwrap_or_else(|| self.state().looks[position]);
        self.close(position, Some(self.look_after(position).map_or(planned, |at| at.min(planned))));
    }

    /// When what has gone live is to be looked at. What waits for a start does not come due before it.
    fn look_after(&self, position: usize) -> Option<Timestamp> {
        let (registry, now) = (&self.registry, self.registry.clock.now());
        let domain = registry.domains.get(position).filter(|_| registry.live_sets.goes_live(position))?;
        let (_, until) = domain.own().common_validity()?;
        let advice = Advice::load(&registry.documents, &domain.md);
        let is_due = domain.renew_at(&advice, now) <= now;
        let due = if is_due { now } else { due_at(domain, &advice, registry.globals.check_interval, now) };
        schedule::check_after(due, until, registry.globals.retry_delay, now)
    }

    /// What the end of a renewal tells of its CA's patience. While that is at its end, those in line do not wait here.
    fn hear(&self, ca: &str, ended: &Ended, nonce: Option<String>) {
        let now = self.registry.clock.now();
        let mut state = self.state();
        let at_ca = state.cas.entry(ca.to_owned()).or_default();
        let before = at_ca.limits.paused_until(now);
        let retry_after = match ended {
            Ended::Done => {
                at_ca.nonces.extend(nonce.map(|nonce| (now, nonce)));
                return at_ca.limits.content();
            }
            Ended::Failed(err) if wants_fewer(err) => err.retry_after(),
            Ended::Failed(_) | Ended::Cancelled => return,
        };
        let until = at_ca.limits.refused(now, retry_after);
        let waiting = std::mem::take(&mut at_ca.due);
        for position in &waiting {
            state.busy.remove(position);
            state.looks[*position] = until;
        }
        drop(state);
        if before.is_none() {
            let until = time::format_gmt(until);
            report!(
                MD0019,
                "{ca} wants fewer requests: no other renewal begins there before {until}, {} domains wait",
                waiting.len()
            );
        }
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
        state.leaves(position);
        drop(state);
        self.changed.notify_one();
    }
}

impl Drop for Hands<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.renewals.worker_lost();
            match self.held {
                Some(Held::Question(position)) => {
                    let again = self.renewals.registry.clock.now() + Renewals::AFTER_A_PANIC;
                    self.renewals.asked(position, again);
                }
                Some(Held::Warning(position)) => self.renewals.warned(position, None),
                Some(Held::Renewal(position)) => self.renewals.close(position, None),
                None => {}
            }
        }
    }
}

impl State {
    /// Domains whose renewal is to begin.
    fn due(&self) -> usize {
        self.cas.values().map(|ca| ca.due.len()).sum()
    }

    /// The first in line at a CA where one may begin; of several such CAs the one that has waited longest.
    /// With it, a nonce if that CA has given one too many.
    fn take_due(&mut self, now: Timestamp) -> Option<(usize, Option<String>)> {
        let of_dns = self.begun_at.keys().filter(|position| self.dns_only.contains(position)).count();
        let is_full = of_dns >= Renewals::MOST_DNS_ONLY;
        let first = |ca: &AtCa| ca.due.iter().position(|position| !is_full || !self.dns_only.contains(position));
        let ready = self.cas.iter_mut().filter(|(_, ca)| ca.limits.may_begin(now));
        let may_begin = ready.filter_map(|(url, ca)| first(ca).map(|place| (url, ca, place)));
        let (url, ca, place) = may_begin.min_by_key(|(_, ca, _)| ca.limits.next())?;
        let position = ca.due.remove(place)?;
        ca.nonces.retain(|(at, _)| (*at..*at + Renewals::NONCES_LAST).contains(&now));
        let nonce = ca.nonces.pop().map(|(_, nonce)| nonce);
        ca.limits.begin(now, nonce.is_some());
        self.begun_at.insert(position, url.clone());
        Some((position, nonce))
    }

    /// The next domain to be warned of that nobody works on: another one is looked at when that is done.
    fn take_warning(&mut self) -> Option<usize> {
        while let Some(position) = self.warnings.pop_front() {
            if self.busy.insert(position) {
                self.warning = true;
                return Some(position);
            }
        }
        None
    }

    /// The renewal goes to that CA: since it was put in line, another process may have had a try. Whether it is the one
    /// that it was in line for.
    fn goes_to(&mut self, position: usize, ca: &str, now: Timestamp) -> bool {
        let is_other = self.begun_at.get(&position).is_some_and(|known| known != ca);
        if is_other {
            self.leaves(position);
            self.cas.entry(ca.to_owned()).or_default().limits.begin(now, false);
            self.begun_at.insert(position, ca.to_owned());
        }
        !is_other
    }

    fn leaves(&mut self, position: usize) {
        if let Some(ca) = self.begun_at.remove(&position).and_then(|url| self.cas.get_mut(&url)) {
            ca.limits.end();
        }
    }
}

/// Whether it is not this domain's fault, but the CA has too much to do.
fn wants_fewer(err: &AcmeError) -> bool {
    match err {
        AcmeError::Problem { problem, retry_after, .. } => {
            problem.is("rateLimited") || problem.is("serverInternal") && retry_after.is_some()
        }
        AcmeError::HttpStatus { http_status, retry_after, .. }
        | AcmeError::Unavailable { http_status, retry_after, .. } => {
            *http_status == 429 || *http_status == 503 && retry_after.is_some()
        }
        _ => false,
    }
}

/// When the renewal of a domain is to begin. Certificates that are good are not all renewed at the moment at which they
/// come due: servers that were set up or restarted together would come together. Where the CA has suggested the moment,
/// it has done that itself.
fn due_at(domain: &Domain, advice: &Advice, check_interval: SignedDuration, now: Timestamp) -> Timestamp {
    if !domain.renewable() {
        return Timestamp::MAX;
    }
    let due = domain.renew_at(advice, now);
    let live = domain.own();
    let is_suggested = due < domain.renew_at(&Advice::default(), now);
    let is_urgent = domain.is_ca_gone() || domain.is_revoked();
    match live.common_validity() {
        Some((_, until)) if live.state == Some(Worth::Complete) && !is_suggested && !is_urgent => {
            due + schedule::spread(until.duration_since(due), check_interval, live.chance())
        }
        _ => due,
    }
}
