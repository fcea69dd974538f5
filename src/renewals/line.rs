//! The line of domains that wait for a worker, or for their CA.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::decisions::{Decision, Work};
use crate::model::Job;
use crate::schedule::CaLimits;

/// How long a worker waits before it looks whether it is cancelled. Clocks of tests move when they are looked at.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });

/// Renewals that wait for commands in the DNS may be this many. Commands run one at a time, and one that hangs is not to
/// keep those that need none from their CA.
const MOST_DNS_ONLY: usize = 4;

/// CAs forget nonces; one that is refused costs a request more than none.
const NONCES_LAST: SignedDuration = SignedDuration::from_secs(30);

/// The line of all domains, where `R` is a renewal.
pub(super) struct State<R> {
    /// Renewals that wait for their time.
    pub(super) open: BTreeMap<(Timestamp, u64), R>,
    /// The CAs by directory URL, with the domains in line there.
    pub(super) cas: BTreeMap<String, AtCa>,
    /// Domains that are due, open or in the hands of a worker.
    pub(super) busy: HashSet<usize>,
    /// The CAs that renewals which are open or in the hands of a worker go to, by position.
    pub(super) begun_at: HashMap<usize, String>,
    /// Domains that can use dns-01 only, by position.
    pub(super) dns_only: HashSet<usize>,
    /// When to look at a domain again, by position. Empty until the first look: the parent does not look.
    pub(super) looks: Vec<Timestamp>,
    /// Reports on failures in a row to begin a renewal, by position. They may be missing in the store: it is what failed.
    pub(super) not_begun: HashMap<usize, Job>,
    /// Domains that somebody else has renewed, by position, as far as that was told.
    pub(super) elsewhere: HashSet<usize>,
    /// When it was last looked whether something is due.
    pub(super) ticked: Timestamp,
    /// How many certificates were known to be revoked then.
    pub(super) findings: u32,
    /// Domains whose CA is to be asked when to renew, by position.
    pub(super) asks: VecDeque<usize>,
    /// A worker asks, and has no hand for a renewal.
    pub(super) asking: bool,
    /// Domains whose certificates are near their end, by position. They are not busy: a renewal that comes due goes first.
    pub(super) warnings: VecDeque<usize>,
    /// A worker warns: one at a time, so that commands that hang leave workers for renewals.
    pub(super) warning: bool,
    /// When to ask again, by position.
    pub(super) ask_again: HashMap<usize, Timestamp>,
    /// Counts renewals that were put back, so that equal times keep their order.
    pub(super) turn: u64,
    /// Workers that run.
    pub(super) workers: usize,
}

/// A CA as all renewals see it.
#[derive(Default)]
pub(super) struct AtCa {
    pub(super) limits: CaLimits,
    /// Domains whose renewal is to begin, by position, and those that are to be cleaned up.
    pub(super) due: VecDeque<(usize, Work)>,
    /// Nonces that renewals had left at their end, and when.
    pub(super) nonces: Vec<(Timestamp, String)>,
}

/// The work of a worker on one domain, by position.
#[derive(Debug, PartialEq)]
pub(super) enum Task<R> {
    /// A renewal begins, with a nonce of its CA if there is one.
    Begin(usize, Option<String>),
    /// A renewal goes on.
    Go(R),
    CleanUp(usize),
    Ask(usize),
    Warn(usize),
}

/// The next step of a worker.
#[derive(Debug, PartialEq)]
pub(super) enum Step<R> {
    Do(Task<R>),
    /// The worker waits, for so long at most.
    Wait(Duration),
    /// The worker ends, and closes these renewals.
    End(Vec<R>),
}

impl<R> State<R> {
    pub(super) fn new(dns_only: HashSet<usize>) -> Self {
        Self {
            open: BTreeMap::new(),
            cas: BTreeMap::new(),
            busy: HashSet::new(),
            begun_at: HashMap::new(),
            dns_only,
            looks: Vec::new(),
            not_begun: HashMap::new(),
            elsewhere: HashSet::new(),
            ticked: Timestamp::default(),
            findings: 0,
            asks: VecDeque::new(),
            asking: false,
            warnings: VecDeque::new(),
            warning: false,
            ask_again: HashMap::new(),
            turn: 0,
            workers: 0,
        }
    }

    /// Puts a domain that was looked at in line, at the CA that its renewal would go to.
    pub(super) fn put_in_line(&mut self, position: usize, ca: String, Decision { work, warns, look_at }: Decision) {
        if work.is_some() {
            self.busy.insert(position);
        }
        match work {
            Some(work @ (Work::Renew | Work::CleanUp)) => {
                self.cas.entry(ca).or_default().due.push_back((position, work))
            }
            Some(Work::Ask) => self.asks.push_back(position),
            None => {}
        }
        if warns && !self.warnings.contains(&position) {
            self.warnings.push_back(position);
        }
        self.looks[position] = look_at;
    }

    /// Counts as running the workers that the work in line needs, `most` for renewals and warnings and one for questions. Returns how
    /// many of them are to be started.
    pub(super) fn add_workers(&mut self, most: usize) -> usize {
        let work = self.due() + self.open.len() + usize::from(self.warning || !self.warnings.is_empty());
        let asks = self.asking || !self.asks.is_empty();
        let missing = (work.min(most) + usize::from(asks)).saturating_sub(self.workers);
        self.workers += missing;
        missing
    }

    /// Returns what a worker is to do. `most` is how many workers there may be for renewals; one more may be there for questions.
    pub(super) fn next_step(&mut self, most: usize, is_cancelled: bool, now: Timestamp) -> Step<R> {
        let may_ask = !self.asking && !self.asks.is_empty();
        let may_warn = !self.warning && !self.warnings.is_empty();
        if is_cancelled || self.open.is_empty() && self.due() == 0 && !may_ask && !may_warn {
            self.workers = self.workers.saturating_sub(1);
            return Step::End(std::mem::take(&mut self.open).into_values().collect());
        }
        if self.workers > most && !self.asking {
            if may_ask {
                return self.ask();
            }
            self.workers -= 1;
            return Step::End(Vec::new());
        }
        let ready = self.open.first_key_value().map(|((at, _), _)| *at);
        if ready.is_some_and(|at| at <= now) {
            if let Some((_, renewal)) = self.open.pop_first() {
                return Step::Do(Task::Go(renewal));
            }
        }
        if let Some(task) = self.take_due(now) {
            return Step::Do(task);
        }
        if may_warn {
            return match self.take_warning() {
                Some(position) => Step::Do(Task::Warn(position)),
                None => self.next_step(most, is_cancelled, now),
            };
        }
        if may_ask {
            return self.ask();
        }
        let patience = if self.due() == 0 { PATIENCE } else { CaLimits::GAP_WITH_NONCE.unsigned_abs() };
        Step::Wait(ready.map_or(patience, |at| at.duration_since(now).unsigned_abs().min(patience)))
    }

    pub(super) fn ask(&mut self) -> Step<R> {
        self.asking = true;
        self.asks.pop_front().map_or(Step::Wait(Duration::ZERO), |position| Step::Do(Task::Ask(position)))
    }

    /// Returns how many domains are in line at CAs.
    pub(super) fn due(&self) -> usize {
        self.cas.values().map(|ca| ca.due.len()).sum()
    }

    /// Takes the first in line at a CA where a renewal may begin; of several such CAs the one that has waited longest. With it
    /// goes a nonce, if that CA has given one too many.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Task<R>> {
        let of_dns = self.begun_at.keys().filter(|position| self.dns_only.contains(position)).count();
        let is_full = of_dns >= MOST_DNS_ONLY;
        let first = |ca: &AtCa| ca.due.iter().position(|(position, _)| !is_full || !self.dns_only.contains(position));
        let ready = self.cas.iter_mut().filter(|(_, ca)| ca.limits.may_begin(now));
        let may_begin = ready.filter_map(|(url, ca)| first(ca).map(|place| (url, ca, place)));
        let (url, ca, place) = may_begin.min_by_key(|(_, ca, _)| ca.limits.next())?;
        let (position, work) = ca.due.remove(place)?;
        ca.nonces.retain(|(at, _)| (*at..*at + NONCES_LAST).contains(&now));
        let nonce = if work == Work::Renew { ca.nonces.pop().map(|(_, nonce)| nonce) } else { None };
        ca.limits.begin(now, nonce.is_some());
        self.begun_at.insert(position, url.clone());
        Some(if work == Work::CleanUp { Task::CleanUp(position) } else { Task::Begin(position, nonce) })
    }

    /// Takes the next domain that commands are warned of and that nobody works on. Others are looked at when that work is done.
    pub(super) fn take_warning(&mut self) -> Option<usize> {
        while let Some(position) = self.warnings.pop_front() {
            if self.busy.insert(position) {
                self.warning = true;
                return Some(position);
            }
        }
        None
    }

    /// Notes the CA that a renewal goes to: since it was put in line, another process may have had a try. Returns whether it is the
    /// CA that the domain was in line for.
    pub(super) fn goes_to(&mut self, position: usize, ca: &str, now: Timestamp) -> bool {
        let is_other = self.begun_at.get(&position).is_some_and(|known| known != ca);
        if is_other {
            self.leaves(position);
            self.cas.entry(ca.to_owned()).or_default().limits.begin(now, false);
            self.begun_at.insert(position, ca.to_owned());
        }
        !is_other
    }

    pub(super) fn leaves(&mut self, position: usize) {
        if let Some(ca) = self.begun_at.remove(&position).and_then(|url| self.cas.get_mut(&url)) {
            ca.limits.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(NOW + second).unwrap()
    }

    /// A line of ten domains, where renewals are words.
    fn line() -> State<&'static str> {
        let mut state = State::new(HashSet::from([5, 6, 7, 8, 9]));
        state.looks = vec![Timestamp::MIN; 10];
        state.workers = 1;
        state
    }

    fn put(state: &mut State<&'static str>, ca: &str, position: usize, work: Work) {
        state.put_in_line(position, ca.to_owned(), Decision { work: Some(work), warns: false, look_at: at(60) });
    }

    fn warn(state: &mut State<&'static str>, position: usize) {
        state.put_in_line(position, "a".to_owned(), Decision { work: None, warns: true, look_at: at(60) });
    }

    /// A part of a line.
    #[derive(Debug, Clone, Copy)]
    enum Part {
        /// A renewal that waits until that second, and when it was put back.
        Open(i64, u64, &'static str),
        Line(usize, Work),
        Warn(usize),
        /// A nonce of that second.
        Nonce(i64),
        /// A third worker: two are for renewals.
        Extra,
        Warning,
        Asking,
    }

    impl Part {
        fn put(self, state: &mut State<&'static str>) {
            match self {
                Self::Open(second, turn, renewal) => _ = state.open.insert((at(second), turn), renewal),
                Self::Line(position, work) => put(state, "a", position, work),
                Self::Warn(position) => warn(state, position),
                Self::Nonce(second) => {
                    state.cas.entry("a".to_owned()).or_default().nonces.push((at(second), "nonce".to_owned()));
                }
                Self::Extra => state.workers = 3,
                Self::Warning => state.warning = true,
                Self::Asking => state.asking = true,
            }
        }
    }

    #[test]
    fn a_worker_goes_on_begins_warns_and_asks_in_this_order_or_ends() {
        use Part::{Asking, Extra, Line, Nonce, Open, Warn, Warning};
        use Work::{Ask, CleanUp, Renew};
        let task = Step::Do;
        let begin = |nonce: Option<&str>| Step::Do(Task::Begin(1, nonce.map(str::to_owned)));
        let end = || Step::End(Vec::new());
        let rows: [(&[Part], Step<&str>); 21] = [
            // One kind of work
            (&[], end()),
            (&[Open(0, 1, "x")], task(Task::Go("x"))),
            (&[Line(1, Renew)], begin(None)),
            (&[Line(1, CleanUp)], task(Task::CleanUp(1))),
            (&[Line(1, Ask)], task(Task::Ask(1))),
            (&[Warn(1)], task(Task::Warn(1))),
            // Renewals that wait
            (&[Open(60, 1, "x")], Step::Wait(PATIENCE)),
            (&[Open(-1, 2, "second"), Open(-2, 3, "first")], task(Task::Go("first"))),
            (&[Open(0, 1, "first"), Open(0, 2, "second")], task(Task::Go("first"))),
            // Several kinds
            (&[Line(1, Renew), Open(0, 1, "x")], task(Task::Go("x"))),
            (&[Line(1, Renew), Open(60, 1, "x")], begin(None)),
            (&[Warn(2), Line(1, Renew)], begin(None)),
            (&[Line(1, Ask), Warn(2)], task(Task::Warn(2))),
            // A domain that somebody works on is not warned of, and one worker warns or asks at a time
            (&[Line(1, Ask), Warn(1)], task(Task::Ask(1))),
            (&[Warning, Warn(1)], end()),
            (&[Asking, Line(1, Ask)], end()),
            // The worker for questions does nothing else
            (&[Extra, Line(1, Renew), Line(2, Ask)], task(Task::Ask(2))),
            (&[Extra, Line(1, Renew)], end()),
            // Nonces
            (&[Nonce(-29), Line(1, Renew)], begin(Some("nonce"))),
            (&[Nonce(-30), Line(1, Renew)], begin(None)),
            (&[Nonce(0), Line(1, CleanUp)], task(Task::CleanUp(1))),
        ];
        for (parts, expected) in rows {
            let mut state = line();
            parts.iter().for_each(|part| part.put(&mut state));
            assert_eq!(state.next_step(2, false, at(0)), expected, "{parts:?}");
        }
    }

    #[test]
    fn a_worker_that_is_cancelled_hands_back_the_renewals_that_wait() {
        let mut state = line();
        state.open.insert((at(60), 1), "x");
        put(&mut state, "a", 1, Work::Renew);
        assert_eq!(state.next_step(2, true, at(0)), Step::End(vec!["x"]));
        assert_eq!((state.workers, state.next_step(2, true, at(0))), (0, Step::End(Vec::new())));
    }

    #[test]
    fn a_renewal_begins_at_the_ca_that_has_waited_longest_and_not_where_none_may() {
        let mut state = line();
        put(&mut state, "a", 1, Work::Renew);
        put(&mut state, "a", 2, Work::Renew);
        put(&mut state, "b", 3, Work::Renew);
        put(&mut state, "paused", 4, Work::Renew);
        state.cas.get_mut("paused").unwrap().limits.refused(at(0), None);
        let mut begun = || match state.next_step(2, false, at(0)) {
            Step::Do(Task::Begin(position, None)) => Some(position),
            _ => None,
        };
        assert_eq!([begun(), begun(), begun(), begun()], [Some(1), Some(3), Some(2), None]);
        assert_eq!((state.begun_at[&3].as_str(), state.due()), ("b", 1));
    }

    #[test]
    fn renewals_that_need_commands_in_the_dns_leave_room_for_others() {
        let mut state = line();
        [5, 6, 7, 8, 9, 1].into_iter().for_each(|position| put(&mut state, "a", position, Work::Renew));
        let mut begun = Vec::new();
        while let Step::Do(Task::Begin(position, _)) = state.next_step(2, false, at(0)) {
            begun.push(position);
        }
        assert_eq!(begun, [5, 6, 7, 8, 1]);
        state.leaves(5);
        assert_eq!(state.next_step(2, false, at(1)), Step::Do(Task::Begin(9, None)));
    }

    #[test]
    fn a_renewal_that_goes_to_another_ca_than_planned_counts_there() {
        let mut state = line();
        put(&mut state, "a", 1, Work::Renew);
        assert_eq!(state.next_step(2, false, at(0)), Step::Do(Task::Begin(1, None)));
        assert!(state.goes_to(1, "a", at(0)) && !state.goes_to(1, "b", at(0)));
        let mut alone = CaLimits::default();
        alone.begin(at(0), false);
        assert_eq!((state.begun_at[&1].as_str(), &state.cas["b"].limits), ("b", &alone));
        alone.end();
        assert_eq!(state.cas["a"].limits, alone);
    }

    #[test]
    fn as_many_workers_are_started_as_there_is_work_and_one_for_questions() {
        // In line, open, whether there are warnings and questions, running, most; to be started
        let rows = [
            (0, 0, false, false, 0, 2, 0),
            (1, 0, false, false, 0, 2, 1),
            (5, 0, false, false, 0, 2, 2),
            (0, 3, false, false, 1, 2, 1),
            (0, 0, true, false, 0, 2, 1),
            (0, 0, false, true, 0, 2, 1),
            (5, 0, true, true, 0, 2, 3),
            (5, 0, true, true, 3, 2, 0),
            (1, 0, false, false, 2, 2, 0),
        ];
        for row in rows {
            let (due, open, warns, asks, running, most, expected) = row;
            let mut state = line();
            state.workers = running;
            (0..due).for_each(|position| put(&mut state, "a", position, Work::Renew));
            (0..open).for_each(|turn| Part::Open(0, turn, "x").put(&mut state));
            if warns {
                warn(&mut state, 9);
            }
            if asks {
                put(&mut state, "a", 8, Work::Ask);
            }
            assert_eq!(state.add_workers(most), expected, "{row:?}");
            assert_eq!(state.workers, running + expected);
        }
    }
}
