//! Renews what is due: a queue ordered by time, which worker threads empty.
//!
//! A worker never sleeps for a CA: a renewal that has to wait goes back to the queue. So a slow CA delays its own
//! domains only, and a few workers serve many renewals. However many domains are due at once, a CA sees at most
//! [`schedule::CaLimits::MOST_OPEN`] of them at a time, and none begins while it wants to be left alone.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::begin::{Begun, Reason};
use super::renewal::{self, Ended, Renewal};
use crate::acme::PortError;
use crate::ari::Advisor;
use crate::cancel::{Cancel, Place};
use crate::counts::RenewalOutcome;
use crate::events::{About, Event};
use crate::http::HttpClient;
use crate::issuance::Outcome;
use crate::line::decisions::{self, Findings};
use crate::line::{HeldBack, State, Step, Task, Wait, held_back};
use crate::log::{note, report};
use crate::model::{Job, JobResult, ManagedDomain, State as CertificateState, Status, time, without_passwords};
use crate::registry::{Domain, NextCa, Registry};
use crate::schedule::{self, CaLimits, Random, Refusal};
use crate::sets::{Advice, StagedState, staged};
use crate::store::{Aspect, Group};

/// Makes the HTTP client for one domain's renewal.
pub type Clients = Box<dyn Fn(&ManagedDomain, &Cancel) -> Arc<dyn HttpClient> + Send + Sync>;

/// All renewals of this process.
pub struct Renewals {
    registry: Arc<Registry>,
    clients: Clients,
    random: Random,
    line: Arc<Line>,
    advisor: Advisor,
}

/// The line, as all workers share it.
struct Line {
    state: Mutex<State<Box<Renewal>>>,
    changed: Condvar,
    /// How many workers there may be for renewals (`MDRenewWorkers`).
    most: usize,
    starter: OnceLock<Starter>,
}

/// Starts another thread for [`Renewals::work`]; `false` if it cannot be started.
pub type Starter = Box<dyn Fn() -> bool + Send + Sync>;

/// The place of the worker that has this domain in hand.
struct WorkPlace {
    line: Arc<Line>,
    position: usize,
}

/// The work in the hands of a worker, to be given back if it panics. The caller of the worker reports the panic.
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
    /// When to look again at a domain that another process works on.
    const CLAIMED_ELSEWHERE: SignedDuration = SignedDuration::from_secs(1);
    /// When to ask a CA again if an answer of it made a worker panic.
    const AFTER_A_PANIC: SignedDuration = SignedDuration::from_hours(24);

    /// Makes the queue. Nothing is due before the first [`Renewals::tick`].
    #[must_use]
    pub fn new(registry: Arc<Registry>, clients: Clients, random: Random) -> Self {
        let is_dns_only =
            |domain: &Domain| matches!(&*domain.challenges, Ok(types) if types.iter().all(|kind| kind.needs_command()));
        let domains = registry.domains.iter().enumerate();
        let dns_only = domains.filter(|(_, domain)| is_dns_only(domain)).map(|(position, _)| position).collect();
        let line = Line {
            state: Mutex::new(State::new(dns_only)),
            changed: Condvar::new(),
            most: registry.globals.renew_workers.get().into(),
            starter: OnceLock::new(),
        };
        Self { registry, clients, random, line: Arc::new(line), advisor: Advisor::default() }
    }

    /// Sets the function that starts workers between two calls of [`Renewals::tick`]: when a worker waits for a command, another
    /// one takes its place.
    pub fn start_workers_with(&self, starter: Starter) {
        let _ = self.line.starter.set(starter);
    }

    fn state(&self) -> MutexGuard<'_, State<Box<Renewal>>> {
        self.line.state()
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
        self.state().add_workers(self.line.most)
    }

    /// If the clock was put back, all that was planned is looked at now: it would be late by as much.
    fn heed_clock(&self, now: Timestamp) {
        let mut state = self.state();
        state.looks.resize(self.registry.domains.len(), Timestamp::MIN);
        if now < state.ticked {
            state.looks.fill(now);
            state.ask_again.clear();
            let open = std::mem::take(&mut state.open);
            state.open = open.into_iter().map(|((_, turn), entry)| ((now, turn), entry)).collect();
            state.cas.values_mut().for_each(|ca| ca.limits.forget_plans());
            self.line.changed.notify_all();
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
        self.line.worker_lost();
    }

    fn look_at(&self, candidates: &[usize], now: Timestamp) {
        let staged = self.registry.documents.items_if_listed(Group::Staging);
        for position in candidates {
            let domain = &self.registry.domains[*position];
            let delay = schedule::check_delay(self.registry.globals.check_interval, (self.random)());
            let is_staged = staged.contains(domain.md.name.as_str());
            let staged = if is_staged {
                StagedState::read(&self.registry.documents, &domain.md)
            } else {
                StagedState::default()
            };
            let mut due = due_at(domain, &staged.advice, self.registry.globals.check_interval, now);
            if self.is_to_be_told(*position, &staged.job) {
                due = now;
            }
            let (ca, look) = self.next_look(domain, &NextCa::of(&staged), due, now);
            let mut state = self.state();
            let ask_at = (due > now && domain.renewable() && domain.asks_ca())
                .then(|| staged.advice.due(self.registry.full_start, now))
                .map(|at| state.ask_again.get(position).map_or(at, |again| at.max(*again)));
            let at_ca = state.at_ca(&ca);
            let wait =
                at_ca.wait(&domain.md.domains, now).map(|wait| wait.within(domain.patience_with_others(wait.since)));
            if look <= now && wait.as_ref().is_some_and(|wait| wait.until <= now) {
                at_ca.limits.end_pause();
            }
            let paused_until = at_ca.limits.paused_until(now);
            let wait = wait.filter(|wait| wait.until > now.max(look));
            let findings = Findings {
                renew_at: wait.as_ref().map_or(look, |wait| wait.until),
                has_left_over: staged.has_left_over(),
                ask_at: ask_at.map(|at| paused_until.map_or(at, |until| at.max(until))),
                warn_at: domain.warn_at(&staged.job, self.registry.globals.retry_delay, now),
                check_at: now + delay,
            };
            state.put_in_line(*position, ca.clone(), findings.decide(now));
            drop(state);
            if let Some(wait) = wait.filter(|_| look <= now) {
                self.report_wait(*position, &ca, &wait, now);
            }
        }
        let next = self.state().looks.iter().min().copied();
        if let Some(next) = next {
            report!(AH10107, "next watchdog run at {}", time::format_gmt(next));
        }
        self.line.changed.notify_all();
    }

    /// Whether a renewal has ended of which commands have not been told. What is live is not due any more, but they are to know.
    fn is_to_be_told(&self, position: usize, job: &Job) -> bool {
        let domain = &self.registry.domains[position];
        let is_open = self.registry.live_sets.goes_live(position) && job.finished && !job.notified_renewed;
        is_open
            && domain.renewable()
            && domain.has_nothing_new_in(&staged::leaves(&self.registry.documents, &domain.md))
    }

    /// Returns which CA a domain is to go to, and when.
    fn next_look(&self, domain: &Domain, next_ca: &NextCa<'_>, due: Timestamp, now: Timestamp) -> (String, Timestamp) {
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
            match task {
                Task::Begin(position, nonce) => {
                    hands.held = Some(Held::Renewal(position));
                    if let Some(renewal) = self.begin(position, nonce, &self.at_place(position, cancel)) {
                        self.go_on(renewal, cancel);
                    }
                }
                Task::Go(renewal) => {
                    hands.held = Some(Held::Renewal(renewal.position()));
                    self.go_on(renewal, cancel);
                }
                Task::CleanUp(position) => {
                    hands.held = Some(Held::Renewal(position));
                    self.clean_up(position, &self.at_place(position, cancel));
                }
                Task::Ask(position) => {
                    hands.held = Some(Held::Question(position));
                    self.asked(position, self.ask(position, cancel));
                }
                Task::Warn(position) => {
                    hands.held = Some(Held::Warning(position));
                    self.warned(position, self.warn(position, &self.at_place(position, cancel)));
                }
            }
            hands.held = None;
        }
    }

    /// Returns what a worker does next; `None` if it ends. The last one to end closes the renewals that wait.
    fn next_task(&self, cancel: &Cancel) -> Option<Task<Box<Renewal>>> {
        let mut state = self.state();
        loop {
            match state.next_step(self.line.most, cancel.is_cancelled(), self.registry.clock.now()) {
                Step::Do(task) => return Some(task),
                Step::End(open) => {
                    drop(state);
                    open.into_iter().for_each(|renewal| self.end(renewal, Ended::Cancelled));
                    return None;
                }
                Step::Wait(wait) => {
                    state = self.line.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn begin(&self, position: usize, nonce: Option<String>, cancel: &Cancel) -> Option<Box<Renewal>> {
        let domain = &self.registry.domains[position];
        let name = &domain.md.name;
        let http = (self.clients)(&domain.md, cancel);
        let now = self.registry.clock.now();
        match Renewal::begin(&self.registry, position, http, Reason::Due, cancel) {
            Ok(Begun::Started(mut renewal)) => {
                report!(AH10052, "{name}: is being renewed, state {:?}", domain.md.state);
                let mut state = self.state();
                state.not_begun.remove(&position);
                state.beginning.remove(&position);
                if state.goes_to(position, renewal.ca_url(), now) {
                    renewal.set_nonce(nonce);
                }
                return Some(renewal);
            }
            Ok(Begun::NotDue | Begun::Denied) => self.settle(position, None),
            Ok(Begun::RenewedElsewhere) => {
                if self.state().elsewhere.insert(position) {
                    report!(
                        MD0058,
                        "{name}: another server that uses this store, or a2md, has renewed it; a graceful restart of this server is \
                         all that is needed"
                    );
                }
                self.settle(position, None);
            }
            Ok(Begun::TooSoon { again_at }) => {
                note!(
                    Debug,
                    "{name}: has been renewed just now, the next renewal is not before {}",
                    time::format_gmt(again_at)
                );
                self.close(position, Some(again_at));
            }
            Ok(Begun::Complete { again_at }) => self.settle(position, again_at),
            Ok(Begun::NotifiedElsewhere { again_at }) => self.settle(position, Some(again_at)),
            Ok(Begun::ClaimedElsewhere) => self.close(position, Some(now + Self::CLAIMED_ELSEWHERE)),
            Err(err) => self.close(position, Some(self.not_begun(position, err, cancel))),
        }
        None
    }

    /// Reports that a renewal cannot even begin. Returns when to try again.
    fn not_begun(&self, position: usize, err: PortError, cancel: &Cancel) -> Timestamp {
        let domain = &self.registry.domains[position];
        let now = self.registry.clock.now();
        let documents = &self.registry.documents;
        let name = domain.md.name.as_str();
        let known = self.state().not_begun.remove(&position);
        let stored = || documents.load_json(Group::Staging, name, &Aspect::JobJson).unwrap_or_default();
        let mut job = Job { name: name.to_owned(), ..known.unwrap_or_else(stored) };
        job.errors = job.errors.saturating_add(1);
        self.registry.count_renewal(RenewalOutcome::Failure);
        let next = now
            + domain.delay_for_short_life(
                self.back_off(job.errors, false),
                false,
                self.registry.globals.retry_delay,
                now,
            );
        let result = JobResult::failure(err.status, PortError::PROBLEM, err.text);
        let at = time::format_gmt(next);
        report!(AH10056, err.status; "processing {name}: {}, next attempt at {at}", result.to_log(name));
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
        let domain = &self.registry.domains[position];
        let now = self.registry.clock.now();
        match renewal::warn_of(domain, &self.registry, cancel) {
            Ok(Some(job)) => domain.warn_at(&job, self.registry.globals.retry_delay, now).filter(|at| *at > now),
            Ok(None) => Some(now + Self::CLAIMED_ELSEWHERE),
            Err(err) => {
                note!(Error, err.status; "{}: the report on what was told cannot be written: {err}", domain.md.name);
                None
            }
        }
    }

    /// Frees a domain that was warned of, and looks at it no later than that.
    fn warned(&self, position: usize, again: Option<Timestamp>) {
        let mut state = self.state();
        state.warning = false;
        state.busy.remove(&position);
        let planned = state.looks[position];
        state.looks[position] = again.map_or(planned, |at| at.min(planned));
        drop(state);
        self.line.changed.notify_all();
    }

    /// Asks the CA when to renew a domain. It takes its turn after the renewals: nobody waits for the answer.
    fn ask(&self, position: usize, cancel: &Cancel) -> Timestamp {
        let domain = &self.registry.domains[position];
        let http = (self.clients)(&domain.md, cancel);
        self.advisor.ask(&self.registry, domain, &http, self.random)
    }

    /// Frees a domain whose CA was asked, and looks at it at once: the answer may make it due.
    fn asked(&self, position: usize, again: Timestamp) {
        let now = self.registry.clock.now();
        let mut state = self.state();
        state.asking = false;
        state.busy.remove(&position);
        state.ask_again.insert(position, again);
        state.looks[position] = now;
    }

    /// Takes away what commands have set up for an earlier renewal of a domain that is not due.
    fn clean_up(&self, position: usize, cancel: &Cancel) {
        let domain = &self.registry.domains[position];
        let now = self.registry.clock.now();
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
        let mut has_answer = renewal.has_answer();
        let result = loop {
            if renewal.clock_was_put_back() {
                break Ended::Cancelled;
            }
            if !std::mem::replace(&mut has_answer, renewal.has_answer()) && has_answer {
                self.answered(renewal.ca_url());
            }
            if self.state().has_too_many(self.line.most) {
                let now = self.registry.clock.now();
                return self.put_back(renewal, now);
            }
            if let Some(wait) = self.wait_before_order(&renewal) {
                return self.hold_back(renewal, &wait);
            }
            match renewal.step() {
                Ok(Outcome::Continue) if cancel.is_cancelled() && !renewal.has_all() => break Ended::Cancelled,
                Ok(Outcome::Continue) => {}
                Ok(Outcome::Wait(until)) => return self.put_back(renewal, until),
                Ok(Outcome::Done) => break Ended::Done,
                Err(err) if err.is_cancelled() || cancel.is_cancelled() => break Ended::Cancelled,
                Err(err) => break Ended::Failed(err),
            }
        };
        self.end(renewal, result);
    }

    /// Returns why a renewal that has no order yet has to wait: the CA has refused another one since it began.
    fn wait_before_order(&self, renewal: &Renewal) -> Option<Wait> {
        if renewal.has_order() || renewal.has_all() {
            return None;
        }
        let now = self.registry.clock.now();
        self.state().at_ca(renewal.ca_url()).wait(&renewal.md().domains, now).cloned()
    }

    /// Closes a renewal that has to wait for its CA.
    fn hold_back(&self, mut renewal: Box<Renewal>, wait: &Wait) {
        let position = renewal.position();
        let ca = renewal.ca_url().to_owned();
        renewal.end(Ended::Cancelled, |failures, permanent| self.back_off(failures, permanent));
        drop(renewal);
        self.report_wait(position, &ca, wait, self.registry.clock.now());
        self.close(position, Some(wait.until));
    }

    /// Closes a renewal. Its claim goes with it, so that the next generation of the server can go on at once.
    fn end(&self, mut renewal: Box<Renewal>, ended: Ended) {
        let position = renewal.position();
        let nonce = renewal.take_nonce();
        // A start uses what is complete, and no process tells of it afterwards.
        let ended = match ended {
            Ended::Cancelled if renewal.has_all() => Ended::Done,
            ended => ended,
        };
        self.hear(&renewal, &ended, nonce);
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
        let registry = &self.registry;
        let now = self.registry.clock.now();
        let domain = registry.domains.get(position).filter(|_| registry.live_sets.goes_live(position))?;
        let (_, until) = domain.own().common_validity()?;
        let advice = Advice::load(&registry.documents, &domain.md);
        let is_due = domain.renew_at(&advice, now) <= now;
        let due = if is_due { now } else { due_at(domain, &advice, registry.globals.check_interval, now) };
        schedule::check_after(due, until, registry.globals.retry_delay, now)
    }

    /// Notes that a CA has answered: more than one renewal may ask it.
    fn answered(&self, ca: &str) {
        self.state().at_ca(ca).limits.answered();
        self.line.changed.notify_all();
    }

    /// Learns from the end of a renewal which other domains have to wait for the CA. They do not wait in line.
    fn hear(&self, renewal: &Renewal, ended: &Ended, nonce: Option<String>) {
        let now = self.registry.clock.now();
        let ca = renewal.ca_url();
        let mut state = self.state();
        let at_ca = state.at_ca(ca);
        let err = match ended {
            Ended::Done => {
                at_ca.nonces.extend(nonce.map(|nonce| (now, nonce)));
                at_ca.limits.answered();
                return at_ca.limits.content();
            }
            Ended::Failed(err) => err,
            Ended::Cancelled => return,
        };
        if !err.is_of_transport() {
            at_ca.limits.answered();
        }
        let md = renewal.md();
        let retry_after = err.retry_after();
        let wait_until = |until| Wait { since: now, until, is_asked: retry_after.is_some(), failure: err.to_result() };
        let was_paused = at_ca.limits.paused_until(now).is_some();
        let (until, names) = match held_back(err, renewal.has_account(), &md.domains) {
            HeldBack::Nobody => return,
            HeldBack::All => (Some(at_ca.limits.refused(now, retry_after)), Vec::new()),
            HeldBack::Alike { kind, names } => {
                let about = names.iter().min_by_key(|name| name.len()).map_or(md.name.as_str(), String::as_str);
                let refusal = Refusal { kind, about: about.to_owned(), retry_after };
                let latest = now + CaLimits::LONGEST_PAUSE;
                let until = retry_after.map_or(now + CaLimits::FIRST_PAUSE, |at| at.min(latest));
                at_ca.limit(names.clone(), &wait_until(until), now);
                (at_ca.limits.refused_one(now, refusal), names)
            }
        };
        if let Some(until) = until {
            at_ca.pause = Some(wait_until(until));
        }
        let names_of = |position: usize| self.registry.domains[position].md.domains.as_slice();
        let within = |(position, wait): (usize, Wait)| {
            (position, wait.within(self.registry.domains[position].patience_with_others(now)))
        };
        let waiting: Vec<_> = at_ca.take_waiting(names_of, now).into_iter().map(within).collect();
        for (position, wait) in &waiting {
            state.busy.remove(position);
            state.looks[*position] = wait.until;
        }
        drop(state);
        self.tell_waiting(ca, &waiting, until.filter(|_| !was_paused), &names);
        waiting.iter().for_each(|(position, wait)| self.report_wait(*position, ca, wait, now));
    }

    /// Logs that domains wait for their CA: all of them until a moment, or those of some names.
    fn tell_waiting(&self, ca: &str, waiting: &[(usize, Wait)], until: Option<Timestamp>, names: &[String]) {
        let Some((_, wait)) = waiting.first() else { return };
        let count = waiting.len();
        let why = &wait.failure.detail.as_deref().unwrap_or_default();
        let at = time::format_gmt(until.unwrap_or(wait.until));
        match until {
            Some(_) => report!(
                MD0019,
                "{ca} wants fewer requests: no other renewal begins there before {at}, {count} domains wait: {why}"
            ),
            None if !names.is_empty() => report!(
                MD0019,
                "{ca} takes no orders for {} before {at}, {count} other domains wait: {why}",
                names.join(", ")
            ),
            None => {}
        }
    }

    /// Writes into the report of a domain that it waits for its CA, and why. A failure of its own stays in the report.
    fn report_wait(&self, position: usize, ca: &str, wait: &Wait, now: Timestamp) {
        let documents = &self.registry.documents;
        let name = self.registry.domains[position].md.name.as_str();
        let Ok(Some(_claim)) = documents.store().claim(name) else { return };
        let stored: Option<Job> = documents.load_json(Group::Staging, name, &Aspect::JobJson);
        let mut job = stored.unwrap_or_else(|| Job::new(name));
        if job.finished || job.next_run.is_some_and(|at| at >= wait.until) {
            return;
        }
        let until = time::format_gmt(wait.until);
        let why = wait.failure.detail.as_deref().unwrap_or_default();
        let detail = format!(
            "The renewal waits until {until} for the CA at {ca}, which has refused that of another domain: {why}"
        );
        let problem = wait.failure.problem.clone().unwrap_or_default();
        job.record(now, "waiting", Some(&problem), Some(&detail));
        job.next_run = Some(wait.until);
        if job.errors == 0 {
            job.last = Some(JobResult::failure(Status::AGAIN, problem, detail));
        }
        if wait.is_asked {
            job.retry_after = Some(wait.until);
            job.ca_url = Some(without_passwords(ca).into_owned());
        }
        if let Err(err) = documents.save_json(Group::Staging, name, &Aspect::JobJson, &job) {
            note!(Debug, err.status; "{name}: the report that its renewal waits cannot be written: {err}");
        }
    }

    /// Returns a clone of `cancel` for the worker that has a domain in hand: while it waits for a command, another worker takes its
    /// place.
    fn at_place(&self, position: usize, cancel: &Cancel) -> Cancel {
        cancel.at(Arc::new(WorkPlace { line: Arc::clone(&self.line), position }))
    }

    fn back_off(&self, failures: u32, permanent: bool) -> SignedDuration {
        schedule::back_off(failures, permanent, self.registry.globals.retry_delay, (self.random)())
    }

    fn put_back(&self, renewal: Box<Renewal>, until: Timestamp) {
        let mut state = self.state();
        state.turn += 1;
        let key = (until, state.turn);
        let position = renewal.position();
        state.in_hand.remove(&position);
        state.open.insert(key, (position, renewal));
        drop(state);
        self.line.changed.notify_one();
    }

    /// Frees the domain, and looks at it at that time instead of when it was planned: a report that could
    /// not be written does not make it wait.
    fn close(&self, position: usize, look: Option<Timestamp>) {
        let mut state = self.state();
        state.busy.remove(&position);
        state.in_hand.remove(&position);
        if let Some(look) = look {
            state.looks[position] = look;
        }
        state.leaves(position);
        drop(state);
        self.line.changed.notify_one();
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State<Box<Renewal>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn worker_lost(&self) {
        let mut state = self.state();
        state.workers = state.workers.saturating_sub(1);
    }
}

impl Place for WorkPlace {
    fn step_aside(&self) -> bool {
        let Some(start) = self.line.starter.get() else { return false };
        let mut state = self.line.state();
        if !state.step_aside(self.position) {
            return false;
        }
        let missing = state.add_workers(self.line.most);
        drop(state);
        self.line.changed.notify_all();
        (0..missing).filter(|_| !start()).for_each(|_| self.line.worker_lost());
        true
    }

    fn step_back(&self) {
        self.line.state().step_back(self.position);
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

/// Returns when the renewal of a domain is to begin. Where the CA has suggested the moment, or there is no time, that is as soon as
/// the renewal is due.
fn due_at(domain: &Domain, advice: &Advice, check_interval: SignedDuration, now: Timestamp) -> Timestamp {
    if !domain.renewable() {
        return Timestamp::MAX;
    }
    let due = domain.renew_at(advice, now);
    let is_suggested = due != domain.renew_at(&Advice::default(), now);
    let is_urgent = domain.is_ca_gone() || domain.is_revoked();
    let own = domain.own();
    match own.common_validity() {
        Some((_, until)) if own.state == Some(CertificateState::Complete) && !is_suggested && !is_urgent => {
            decisions::begin_at(due, until, check_interval, own.chance())
        }
        _ => due,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::testing::{Call, TestServer};

    #[test]
    fn a_look_reads_each_document_once_and_a_renewal_once_more_under_its_claim() {
        let name = "once.test";
        let server = TestServer::new(&[name]);
        let count = || {
            let documents = [Aspect::JobJson, Aspect::MdJson, Aspect::OrderJson, Aspect::AriJson];
            documents.map(|aspect| server.store.count(Call::Load, Group::Staging, Some(&aspect)))
        };
        let since = |before: [usize; 4]| {
            let now = count();
            [0, 1, 2, 3].map(|at| now[at] - before[at])
        };
        let renewals = server.run(false);
        // Finished, and still due for this server: looked at, and left to the next start under the claim.
        server.clock.advance(SignedDuration::from_hours(20));
        let before = count();
        assert_eq!(renewals.tick(), 1);
        assert_eq!(since(before), [1; 4]);
        renewals.work(&Cancel::default());
        assert_eq!(since(before), [2; 4]);
        // Nothing is due after that start.
        let renewals = server.renewals(true);
        server.put(Group::Staging, name, &Aspect::AriJson, "{}");
        let before = count();
        renewals.tick();
        assert_eq!(since(before), [1; 4]);
        // Nothing is staged.
        server.store.purge(Group::Staging, name).unwrap();
        server.clock.advance(SignedDuration::from_hours(20));
        let before = count();
        renewals.tick();
        assert_eq!(since(before), [0; 4]);
    }
}
