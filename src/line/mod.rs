//! The line of domains that wait for a worker, or for their CA: what a look at a domain leads to, what a worker does next, and whom a
//! failure holds back.
#![forbid(unsafe_code)]

pub(crate) mod decisions;
mod holds;

pub(crate) use holds::{HeldBack, held_back};

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::model::{DomainName, Job, JobResult};
use crate::schedule::CaLimits;
use decisions::{Decision, Work};
use holds::is_at_or_below;

/// How long a worker waits before it looks whether it is cancelled. Clocks of tests move when they are looked at.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });

/// Renewals that wait for commands in the DNS may be this many. Commands run one at a time, and one that hangs is not to
/// keep those that need none from their CA.
const MOST_DNS_ONLY: usize = 4;

/// So many workers may wait for commands without taking the place of another worker. Commands that hang are not to fill the
/// machine.
const MOST_COMMANDS: usize = 256;

/// The most names for which a CA takes no orders that are kept.
const MOST_LIMITED: usize = 1000;

/// CAs forget nonces; one that is refused costs a request more than none.
const NONCES_LAST: SignedDuration = SignedDuration::from_secs(30);

/// The line of all domains, where `R` is a renewal.
pub(crate) struct State<R> {
    /// Renewals that wait for their time, with the positions of their domains.
    pub(crate) open: BTreeMap<(Timestamp, u64), (usize, R)>,
    /// The CAs by directory URL, with the domains in line there.
    pub(crate) cas: BTreeMap<String, AtCa>,
    /// Domains that are due, open or in the hands of a worker.
    pub(crate) busy: HashSet<usize>,
    /// The CAs that renewals which are open or in the hands of a worker go to, by position.
    pub(crate) begun_at: HashMap<usize, String>,
    /// Domains that can use dns-01 only, by position.
    pub(crate) dns_only: HashSet<usize>,
    /// When to look at a domain again, by position. Empty until the first look: the parent does not look.
    pub(crate) looks: Vec<Timestamp>,
    /// Reports on failures in a row to begin a renewal, by position. They may be missing in the store: it is what failed.
    pub(crate) not_begun: HashMap<usize, Job>,
    /// Domains that somebody else has renewed, by position, as far as that was told.
    pub(crate) elsewhere: HashSet<usize>,
    /// When it was last looked whether something is due.
    pub(crate) ticked: Timestamp,
    /// How many certificates were known to be revoked then.
    pub(crate) findings: u32,
    /// Domains whose CA is to be asked when to renew, by position.
    pub(crate) asks: VecDeque<usize>,
    /// A worker asks, and has no hand for a renewal.
    pub(crate) asking: bool,
    /// Domains whose certificates are near their end, by position. They are not busy: a renewal that comes due goes first.
    pub(crate) warnings: VecDeque<usize>,
    /// A worker warns: one at a time, so that commands that hang leave workers for renewals.
    pub(crate) warning: bool,
    /// When to ask again, by position.
    pub(crate) ask_again: HashMap<usize, Timestamp>,
    /// Counts renewals that were put back, so that equal times keep their order.
    pub(crate) turn: u64,
    /// Workers that run.
    pub(crate) workers: usize,
    /// Domains, by position, whose renewals are in the hands of workers that do not wait for a command.
    pub(crate) in_hand: HashSet<usize>,
    /// Domains, by position, whose renewals begin: their CA is not asked yet.
    pub(crate) beginning: HashSet<usize>,
    /// Workers that wait for commands, and whose places are free for others.
    pub(crate) away: usize,
}

/// A CA as all renewals see it.
#[derive(Default)]
pub(crate) struct AtCa {
    /// Host and port of the directory.
    host: String,
    pub(crate) limits: CaLimits,
    /// Why all domains wait, while they do.
    pub(crate) pause: Option<Wait>,
    /// Names for which the CA takes no orders for now, and why.
    limited: Vec<(String, Wait)>,
    /// Domains whose renewal is to begin, by position, and those that are to be cleaned up.
    pub(crate) due: VecDeque<(usize, Work)>,
    /// Nonces that renewals had left at their end, and when.
    pub(crate) nonces: Vec<(Timestamp, String)>,
}

/// Why domains wait for their CA, and until when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wait {
    /// When the CA has refused.
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    /// Whether the CA has named this moment.
    pub(crate) is_asked: bool,
    /// The failure of the domain for which the others wait.
    pub(crate) failure: JobResult,
}

impl Wait {
    /// Returns the wait of a domain that has so much patience.
    pub(crate) fn within(&self, patience: SignedDuration) -> Self {
        Self { until: self.until.min(self.since + patience), ..self.clone() }
    }
}

impl AtCa {
    fn new(url: &str) -> Self {
        let parsed = Url::parse(url).ok();
        let host =
            parsed.as_ref().and_then(|url| Some(format!("{}:{:?}", url.host_str()?, url.port_or_known_default())));
        Self { host: host.unwrap_or_else(|| url.to_owned()), ..Self::default() }
    }

    /// Notes that the CA takes no orders for these names and the names below them.
    pub(crate) fn limit(&mut self, names: Vec<String>, wait: &Wait, now: Timestamp) {
        self.limited.retain(|(name, known)| known.until > now && !names.contains(name));
        self.limited.extend(names.into_iter().map(|name| (name, wait.clone())));
        self.limited.truncate(MOST_LIMITED);
    }

    /// Returns why a domain with these names has to wait, if it has; of several reasons the one that lasts longest.
    pub(crate) fn wait(&self, names: &[DomainName], now: Timestamp) -> Option<&Wait> {
        let concerns = |(name, _): &&(String, Wait)| names.iter().any(|own| is_at_or_below(own.as_str(), name));
        let of_names = self.limited.iter().filter(concerns).map(|(_, wait)| wait);
        let of_all = self.pause.as_ref().filter(|_| self.limits.paused_until(now).is_some());
        of_names.chain(of_all).filter(|wait| wait.until > now).max_by_key(|wait| wait.until)
    }

    /// Takes the domains out of the line that have to wait. `names` gives the names of a domain.
    pub(crate) fn take_waiting<'a>(
        &mut self,
        names: impl Fn(usize) -> &'a [DomainName],
        now: Timestamp,
    ) -> Vec<(usize, Wait)> {
        let mut waiting = Vec::new();
        for (position, work) in std::mem::take(&mut self.due) {
            match self.wait(names(position), now).filter(|_| work == Work::Renew) {
                Some(wait) => waiting.push((position, wait.clone())),
                None => self.due.push_back((position, work)),
            }
        }
        waiting
    }
}

/// The work of a worker on one domain, by position.
#[derive(Debug, PartialEq)]
pub(crate) enum Task<R> {
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
pub(crate) enum Step<R> {
    Do(Task<R>),
    /// The worker waits, for so long at most.
    Wait(Duration),
    /// The worker ends, and closes these renewals.
    End(Vec<R>),
}

impl<R> State<R> {
    pub(crate) fn new(dns_only: HashSet<usize>) -> Self {
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
            in_hand: HashSet::new(),
            beginning: HashSet::new(),
            away: 0,
        }
    }

    /// Returns the CA with this directory URL.
    pub(crate) fn at_ca(&mut self, url: &str) -> &mut AtCa {
        self.cas.entry(url.to_owned()).or_insert_with(|| AtCa::new(url))
    }

    /// Puts a domain that was looked at in line, at the CA that its renewal would go to.
    pub(crate) fn put_in_line(&mut self, position: usize, ca: String, Decision { work, warns, look_at }: Decision) {
        if work.is_some() {
            self.busy.insert(position);
        }
        match work {
            Some(work @ (Work::Renew | Work::CleanUp)) => self.at_ca(&ca).due.push_back((position, work)),
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
    pub(crate) fn add_workers(&mut self, most: usize) -> usize {
        let work = self.due() + self.open.len() + usize::from(self.warning || !self.warnings.is_empty());
        let asks = self.asking || !self.asks.is_empty();
        let missing = (work.min(most) + usize::from(asks)).saturating_sub(self.in_place());
        self.workers += missing;
        missing
    }

    /// Returns how many workers do not wait for commands.
    fn in_place(&self) -> usize {
        self.workers.saturating_sub(self.away)
    }

    /// Whether a worker has to end, as others have taken the places of those that waited for commands.
    pub(crate) fn has_too_many(&self, most: usize) -> bool {
        self.in_place() > most + usize::from(self.asking)
    }

    /// Frees the place of a worker that waits for a command for this domain, unless too many wait.
    pub(crate) fn step_aside(&mut self, position: usize) -> bool {
        if self.away >= MOST_COMMANDS {
            return false;
        }
        self.away += 1;
        self.in_hand.remove(&position);
        if self.beginning.contains(&position) {
            self.limits_of(position).into_iter().for_each(CaLimits::end);
        }
        true
    }

    /// Gives a place back to a worker whose command for this domain has ended.
    pub(crate) fn step_back(&mut self, position: usize) {
        self.away = self.away.saturating_sub(1);
        self.in_hand.insert(position);
        if self.beginning.contains(&position) {
            self.limits_of(position).into_iter().for_each(CaLimits::go_on);
        }
    }

    /// Returns the limits of the CA that the renewal of this domain goes to.
    fn limits_of(&mut self, position: usize) -> Option<&mut CaLimits> {
        let url = self.begun_at.get(&position)?;
        self.cas.get_mut(url).map(|ca| &mut ca.limits)
    }

    /// Returns the CA that the renewal of this domain goes to.
    fn ca_of(&self, position: usize) -> Option<&AtCa> {
        self.cas.get(self.begun_at.get(&position)?)
    }

    /// Whether as many workers as may be are inside calls of the host of a CA: half of them, so that a host that does not answer
    /// leaves the others alone.
    fn is_full(&self, ca: &AtCa, most: usize) -> bool {
        let there =
            self.in_hand.iter().filter_map(|position| self.ca_of(*position)).filter(|other| other.host == ca.host);
        there.count() >= (most / 2).max(1)
    }

    /// Takes the renewal that has waited longest of those whose time has come, and whose CA has a worker left.
    fn take_open(&mut self, most: usize, now: Timestamp) -> Option<R> {
        let mut ready = self.open.range(..=(now, u64::MAX));
        let may_go = |position: usize| self.ca_of(position).is_none_or(|ca| !self.is_full(ca, most));
        let key = *ready.find(|(_, (position, _))| may_go(*position))?.0;
        let (position, renewal) = self.open.remove(&key)?;
        self.in_hand.insert(position);
        Some(renewal)
    }

    /// Returns what a worker is to do. `most` is how many workers there may be for renewals; one more may be there for questions.
    pub(crate) fn next_step(&mut self, most: usize, is_cancelled: bool, now: Timestamp) -> Step<R> {
        let may_ask = !self.asking && !self.asks.is_empty();
        let may_warn = !self.warning && !self.warnings.is_empty();
        if is_cancelled || self.open.is_empty() && self.due() == 0 && !may_ask && !may_warn {
            self.workers = self.workers.saturating_sub(1);
            return Step::End(std::mem::take(&mut self.open).into_values().map(|(_, renewal)| renewal).collect());
        }
        if self.in_place() > most && !self.asking {
            if may_ask {
                return self.ask();
            }
            self.workers -= 1;
            return Step::End(Vec::new());
        }
        if let Some(renewal) = self.take_open(most, now) {
            return Step::Do(Task::Go(renewal));
        }
        if let Some(task) = self.take_due(most, now) {
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
        let ready = self.open.range((now, u64::MAX)..).next().map(|((at, _), _)| *at);
        Step::Wait(ready.map_or(patience, |at| at.duration_since(now).unsigned_abs().min(patience)))
    }

    pub(crate) fn ask(&mut self) -> Step<R> {
        self.asking = true;
        self.asks.pop_front().map_or(Step::Wait(Duration::ZERO), |position| Step::Do(Task::Ask(position)))
    }

    /// Returns how many domains are in line at CAs.
    pub(crate) fn due(&self) -> usize {
        self.cas.values().map(|ca| ca.due.len()).sum()
    }

    /// Takes the first in line at a CA where a renewal may begin; of several such CAs the one that has waited longest, and of
    /// CAs where none has begun yet the one whose domain was configured first. With it goes a nonce, if that CA has given one too many. What commands have left is taken away without the CA.
    fn take_due(&mut self, most: usize, now: Timestamp) -> Option<Task<R>> {
        let of_dns = self.begun_at.keys().filter(|position| self.dns_only.contains(position)).count();
        let is_full_of_dns = of_dns >= MOST_DNS_ONLY;
        let may_begin = |ca: &AtCa| ca.limits.may_begin(now) && !self.is_full(ca, most);
        let first = |ca: &AtCa| {
            let renews = may_begin(ca);
            let is_next = |(position, work): &(usize, Work)| {
                (renews || *work == Work::CleanUp) && !(is_full_of_dns && self.dns_only.contains(position))
            };
            ca.due.iter().position(is_next)
        };
        let ready = self.cas.iter().filter_map(|(url, ca)| first(ca).map(|place| (url, ca, place)));
        let (url, _, place) = ready.min_by_key(|(_, ca, place)| (ca.limits.next(), ca.due[*place].0))?;
        let url = url.clone();
        let ca = self.cas.get_mut(&url)?;
        let (position, work) = ca.due.remove(place)?;
        if work == Work::CleanUp {
            return Some(Task::CleanUp(position));
        }
        ca.nonces.retain(|(at, _)| (*at..*at + NONCES_LAST).contains(&now));
        let nonce = ca.nonces.pop().map(|(_, nonce)| nonce);
        ca.limits.begin(now, nonce.is_some());
        self.begun_at.insert(position, url);
        self.beginning.insert(position);
        self.in_hand.insert(position);
        Some(Task::Begin(position, nonce))
    }

    /// Takes the next domain that commands are warned of and that nobody works on. Others are looked at when that work is done.
    pub(crate) fn take_warning(&mut self) -> Option<usize> {
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
    pub(crate) fn goes_to(&mut self, position: usize, ca: &str, now: Timestamp) -> bool {
        let is_other = self.begun_at.get(&position).is_some_and(|known| known != ca);
        if is_other {
            self.leaves(position);
            self.at_ca(ca).limits.begin(now, false);
            self.begun_at.insert(position, ca.to_owned());
        }
        !is_other
    }

    /// Ends what a domain has at its CA.
    pub(crate) fn leaves(&mut self, position: usize) {
        self.beginning.remove(&position);
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
        state.at_ca(ca).limits.answered();
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
                Self::Open(second, turn, renewal) => _ = state.open.insert((at(second), turn), (0, renewal)),
                Self::Line(position, work) => put(state, "a", position, work),
                Self::Warn(position) => warn(state, position),
                Self::Nonce(second) => {
                    state.at_ca("a").nonces.push((at(second), "nonce".to_owned()));
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
        state.open.insert((at(60), 1), (0, "x"));
        put(&mut state, "a", 1, Work::Renew);
        assert_eq!(state.next_step(2, true, at(0)), Step::End(vec!["x"]));
        assert_eq!((state.workers, state.next_step(2, true, at(0))), (0, Step::End(Vec::new())));
    }

    #[test]
    fn of_several_cas_where_none_has_begun_the_first_in_the_configuration_is_first() {
        let mut state = line();
        [("z", 1), ("a", 2), ("m", 0)]
            .into_iter()
            .for_each(|(ca, position)| put(&mut state, ca, position, Work::Renew));
        let begun = [(); 3].map(|()| state.next_step(2, false, at(0)));
        assert_eq!(begun, [0, 1, 2].map(|position| Step::Do(Task::Begin(position, None))));
    }

    #[test]
    fn a_renewal_begins_at_the_ca_that_has_waited_longest_and_not_where_none_may() {
        let mut state = line();
        put(&mut state, "a", 1, Work::Renew);
        put(&mut state, "a", 2, Work::Renew);
        put(&mut state, "b", 3, Work::Renew);
        put(&mut state, "paused", 4, Work::Renew);
        state.cas.get_mut("paused").unwrap().limits.refused(at(0), None);
        let mut begun = || match state.next_step(8, false, at(0)) {
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
        while let Step::Do(Task::Begin(position, _)) = state.next_step(20, false, at(0)) {
            begun.push(position);
        }
        assert_eq!(begun, [5, 6, 7, 8, 1]);
        state.leaves(5);
        assert_eq!(state.next_step(20, false, at(1)), Step::Do(Task::Begin(9, None)));
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
        alone.answered();
        assert_eq!(state.cas["a"].limits, alone);
    }

    /// Returns the domains whose renewals begin now.
    fn begin_all(state: &mut State<&'static str>, most: usize) -> Vec<usize> {
        let begins = |state: &mut State<&'static str>| match state.next_step(most, false, at(0)) {
            Step::Do(Task::Begin(position, _)) => Some(position),
            _ => None,
        };
        std::iter::from_fn(|| begins(state)).collect()
    }

    #[test]
    fn half_of_the_workers_and_at_least_one_are_inside_calls_of_a_host() {
        // Workers; renewals that begin at three URLs of one host
        for (most, expected) in [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3), (8, 4), (20, 4)] {
            let mut state = line();
            for (position, ca) in [(0, "https://a.test/1"), (1, "https://a.test/1"), (2, "https://A.test:443/2")] {
                put(&mut state, ca, position, Work::Renew);
            }
            put(&mut state, "https://a.test/3", 3, Work::Renew);
            put(&mut state, "https://a.test:444/", 4, Work::Renew);
            let begun = begin_all(&mut state, most);
            let other = begun.iter().filter(|position| **position == 4).count();
            assert_eq!((begun.len() - other, other), (expected, 1), "{most}");
        }
    }

    #[test]
    fn a_renewal_that_goes_on_leaves_workers_to_other_hosts() {
        let mut state = line();
        for (position, ca) in [(0, "https://a.test/"), (1, "https://a.test/"), (2, "https://b.test/")] {
            put(&mut state, ca, position, Work::Renew);
            state.begun_at.insert(position, ca.to_owned());
            state.open.insert((at(0), position as u64), (position, ["first", "second", "other"][position]));
        }
        state.cas.values_mut().for_each(|ca| ca.due.clear());
        assert_eq!(state.next_step(2, false, at(0)), Step::Do(Task::Go("first")));
        assert_eq!(state.next_step(2, false, at(0)), Step::Do(Task::Go("other")));
        assert_eq!(state.next_step(2, false, at(0)), Step::Wait(PATIENCE));
        state.in_hand.remove(&0);
        assert_eq!(state.next_step(2, false, at(0)), Step::Do(Task::Go("second")));
    }

    #[test]
    fn a_worker_that_waits_for_a_command_has_no_place_and_its_domain_none_at_the_ca() {
        let mut state = line();
        for position in [0, 1, 2] {
            state.put_in_line(
                position,
                "a".to_owned(),
                Decision { work: Some(Work::Renew), warns: false, look_at: at(60) },
            );
        }
        // The CA has not answered yet: one at a time.
        assert_eq!(begin_all(&mut state, 1), [0]);
        assert!(state.step_aside(0));
        assert_eq!(state.add_workers(1), 1);
        assert_eq!(begin_all(&mut state, 1), [1]);
        state.beginning.remove(&1);
        assert!(state.step_aside(1));
        // This one has begun at the CA.
        assert_eq!(begin_all(&mut state, 1), [0; 0]);
        state.step_back(0);
        assert!(!state.has_too_many(1));
        state.step_back(1);
        assert!(state.has_too_many(1));
        assert_eq!(state.next_step(1, false, at(0)), Step::End(Vec::new()));
        state.away = MOST_COMMANDS;
        assert!(!state.step_aside(1));
    }

    #[test]
    fn domains_wait_for_the_latest_reason_that_concerns_them() {
        let names =
            |names: &[&str]| -> Vec<DomainName> { names.iter().map(|name| DomainName::parse(name).unwrap()).collect() };
        let mut ca = AtCa::new("https://a.test/");
        let wait = |second| Wait { since: at(0), until: at(second), is_asked: true, failure: JobResult::default() };
        ca.limit(vec!["example.org".to_owned()], &wait(100), at(0));
        ca.limit(vec!["www.example.org".to_owned(), "old.test".to_owned()], &wait(200), at(0));
        ca.limit(vec!["example.org".to_owned()], &wait(150), at(0));
        let until = |ca: &AtCa, own: &[&str], now| ca.wait(&names(own), at(now)).map(|wait| wait.until);
        assert_eq!(until(&ca, &["a.test", "example.org"], 0), Some(at(150)));
        assert_eq!(until(&ca, &["www.example.org"], 0), Some(at(200)));
        assert_eq!(until(&ca, &["anexample.org", "test"], 0), None);
        assert_eq!(until(&ca, &["example.org"], 150), None);
        ca.pause = Some(wait(170));
        assert_eq!(until(&ca, &["x.test"], 0), None, "the pause is over");
        ca.limits.refused(at(0), Some(at(170)));
        assert_eq!(until(&ca, &["x.test"], 0), Some(at(170)));
        assert_eq!(until(&ca, &["old.test"], 0), Some(at(200)));
        ca.due = VecDeque::from([(0, Work::Renew), (1, Work::CleanUp), (2, Work::Renew)]);
        let known = [names(&["x.test"]), names(&["y.test"]), names(&["example.org"])];
        let waiting: Vec<_> =
            ca.take_waiting(|position| &known[position], at(0)).into_iter().map(|(at, _)| at).collect();
        assert_eq!((waiting, ca.due), (vec![0, 2], VecDeque::from([(1, Work::CleanUp)])));
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
