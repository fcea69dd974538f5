//! The queue of OCSP responses to fetch: which are due, in which order, and from which responder. Time is a parameter.
//!
//! A responder that has not answered yet, or has failed, gets one request at a time. After a failure, all its certificates wait, so
//! that a responder that is gone neither delays the others nor gets a request for each certificate.

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::Held;
use crate::model::{OcspFailures, Window};

/// Longest time between two checks for due responses.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// Longest wait after a failure, whatever a file or a responder says.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// When a response is fetched next, and how often in a row that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub errors: u32,
    pub next: Timestamp,
}

impl Attempt {
    /// Returns the first attempt of a process: when the window of the current response opens, or at once if there is no response.
    /// Earlier failures still count, but at a full start only if there is a valid response.
    pub fn first(held: &Held, failed: Option<&OcspFailures>, window: Window, is_restart: bool, now: Timestamp) -> Self {
        let validity = held.validity.filter(|_| held.is_good(now));
        let due = validity.map_or(Timestamp::MIN, |(from, until)| window.opens(from, until));
        let failed = failed.filter(|_| is_restart || validity.is_some());
        let not_before = failed.and_then(|failed| failed.next_run).map(|at| at.min(now + DAY));
        Self { errors: failed.map_or(0, |failed| failed.errors), next: not_before.map_or(due, |at| due.max(at)) }
    }
}

/// Properties of a failure that decide about the next attempt.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// Whether other requests to the same responder would fail, too.
    pub of_responder: bool,
    /// Retry-After of the responder.
    pub retry_after: Option<Timestamp>,
}

/// The queue of all certificates, by their numbers in the table.
#[derive(Debug)]
pub struct Queue {
    items: BTreeMap<usize, Item>,
    responders: Vec<Responder>,
    by_name: HashMap<String, usize>,
    next_check: Timestamp,
}

#[derive(Debug)]
struct Item {
    attempt: Attempt,
    /// Whether the item is queued or in progress.
    busy: bool,
    /// Position of the responder.
    asks: usize,
}

#[derive(Debug)]
struct Responder {
    waiting: VecDeque<usize>,
    in_flight: usize,
    /// Whether the responder has answered the last request.
    answers: bool,
    failures: u32,
    not_before: Timestamp,
}

impl Default for Queue {
    fn default() -> Self {
        Self { items: BTreeMap::new(), responders: Vec::new(), by_name: HashMap::new(), next_check: Timestamp::MIN }
    }
}

impl Queue {
    /// Adds a certificate, with the name of its responder and its first attempt.
    pub fn add(&mut self, index: usize, responder: &str, attempt: Attempt) {
        let new = self.responders.len();
        let asks = *self.by_name.entry(responder.to_owned()).or_insert(new);
        if asks == new {
            self.responders.push(Responder {
                waiting: VecDeque::new(),
                in_flight: 0,
                answers: false,
                failures: 0,
                not_before: Timestamp::MIN,
            });
        }
        self.next_check = self.next_check.min(attempt.next);
        self.items.insert(index, Item { attempt, busy: false, asks });
    }

    /// Drops items for which `keep` is false, unless they are queued or in progress.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        self.items.retain(|index, item| item.busy || keep(*index));
    }

    pub fn has(&self, index: usize) -> bool {
        self.items.contains_key(&index)
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns the attempt that is due next for a certificate.
    pub fn attempt(&self, index: usize) -> Option<Attempt> {
        self.items.get(&index).map(|item| item.attempt)
    }

    /// Returns when to check again for due responses.
    pub fn next_check(&self) -> Timestamp {
        self.next_check
    }

    /// Queues certificates that are due and for which `is_valid` is true. Returns their number.
    pub fn enqueue_due(&mut self, now: Timestamp, is_valid: impl Fn(usize) -> bool) -> usize {
        let mut count = 0;
        self.next_check = now + LONGEST_WAIT;
        for (index, item) in &mut self.items {
            if item.busy || !is_valid(*index) {
                continue;
            }
            let responder = &mut self.responders[item.asks];
            let at = item.attempt.next.max(responder.not_before);
            if at <= now {
                responder.waiting.push_back(*index);
                item.busy = true;
                count += 1;
            } else {
                self.next_check = self.next_check.min(at);
            }
        }
        count
    }

    /// Returns the number of items that are queued or in progress.
    pub fn open(&self) -> usize {
        self.responders.iter().map(|responder| responder.waiting.len() + responder.in_flight).sum()
    }

    /// Checks whether an item is queued.
    pub fn is_waiting(&self) -> bool {
        self.responders.iter().any(|responder| !responder.waiting.is_empty())
    }

    /// Takes the next certificate to fetch a response for, from the responder with the fewest requests in progress. Returns `None`
    /// also if the remaining responders have yet to answer their first request.
    pub fn take(&mut self) -> Option<usize> {
        let may = |responder: &&mut Responder| {
            !responder.waiting.is_empty() && (responder.answers || responder.in_flight == 0)
        };
        let responder = self.responders.iter_mut().filter(may).min_by_key(|responder| responder.in_flight)?;
        responder.in_flight += 1;
        responder.waiting.pop_front()
    }

    /// Notes that a response was fetched, and that the next is due at `next`.
    pub fn succeeded(&mut self, index: usize, next: Timestamp) {
        let Some(responder) = self.close(index, |_| Attempt { errors: 0, next }) else { return };
        (responder.answers, responder.failures, responder.not_before) = (true, 0, Timestamp::MIN);
    }

    /// Notes that a request failed. `back_off` gives the wait after a number of failures. Returns how many other certificates wait
    /// for the responder.
    pub fn failed(
        &mut self,
        index: usize,
        failure: Failure,
        now: Timestamp,
        back_off: impl Fn(u32) -> SignedDuration,
    ) -> usize {
        let floor = failure.retry_after.map_or(now, |at| at.min(now + DAY));
        let again = |before: Attempt| {
            let errors = before.errors.saturating_add(1);
            Attempt { errors, next: floor.max(now + back_off(errors)) }
        };
        let Some(responder) = self.close(index, again) else { return 0 };
        if !failure.of_responder {
            (responder.answers, responder.failures) = (true, 0);
            return 0;
        }
        (responder.answers, responder.failures) = (false, responder.failures.saturating_add(1));
        responder.not_before = floor.max(now + back_off(responder.failures));
        let waiting = std::mem::take(&mut responder.waiting);
        let not_before = responder.not_before;
        self.free(&waiting);
        self.next_check = self.next_check.min(not_before);
        waiting.len()
    }

    /// Notes that no response was requested for a certificate, which is due at `next`.
    pub fn put_back(&mut self, index: usize, next: Timestamp) {
        self.close(index, |before| Attempt { next, ..before });
    }

    /// Takes all items out of the queue. Those in progress are left.
    pub fn clear(&mut self) {
        let waiting: VecDeque<usize> =
            self.responders.iter_mut().flat_map(|responder| std::mem::take(&mut responder.waiting)).collect();
        if !waiting.is_empty() {
            self.free(&waiting);
            self.next_check = Timestamp::MIN;
        }
    }

    fn free(&mut self, waiting: &VecDeque<usize>) {
        for index in waiting {
            self.items.entry(*index).and_modify(|item| item.busy = false);
        }
    }

    /// Ends the progress of an item. Returns its responder.
    fn close(&mut self, index: usize, again: impl FnOnce(Attempt) -> Attempt) -> Option<&mut Responder> {
        let item = self.items.get_mut(&index)?;
        (item.busy, item.attempt) = (false, again(item.attempt));
        self.next_check = self.next_check.min(item.attempt.next);
        let responder = &mut self.responders[item.asks];
        responder.in_flight = responder.in_flight.saturating_sub(1);
        Some(responder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Revocation;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn hour(failures: u32) -> SignedDuration {
        SignedDuration::from_hours(failures.into())
    }

    #[test]
    fn the_first_attempt_is_in_the_window_or_at_once_or_after_the_delay_of_failures() {
        let good = Held {
            response: Some(vec![1].into()),
            revocation: Some(Revocation::Good),
            validity: Some((at(-500), at(500))),
            written: None,
        };
        let none = Held::default();
        let expired = Held { validity: Some((at(-500), at(0))), ..good.clone() };
        let failed = |next: i64| OcspFailures { errors: 3, next_run: Some(at(next)) };
        // What is held, failures until, restart; errors and when. `None` is at once.
        let rows = [
            (&good, None, false, 0, Some(170)),
            (&none, None, false, 0, None),
            (&expired, None, true, 0, None),
            (&good, Some(300), false, 3, Some(300)),
            (&good, Some(100), true, 3, Some(170)),
            (&none, Some(300), false, 0, None),
            (&none, Some(300), true, 3, Some(300)),
            (&expired, Some(300), false, 0, None),
            (&none, Some(999_999), true, 3, Some(86_400)),
        ];
        for (held, failures, is_restart, errors, next) in rows {
            let failures = failures.map(failed);
            let attempt = Attempt::first(held, failures.as_ref(), Window::Percent(33), is_restart, at(0));
            let next = next.map_or(Timestamp::MIN, at);
            assert_eq!(attempt, Attempt { errors, next }, "{held:?} {failures:?} {is_restart}");
        }
    }

    fn queue(responders: &[&'static str]) -> Queue {
        let now = Attempt { errors: 0, next: Timestamp::MIN };
        let mut queue = Queue::default();
        responders.iter().enumerate().for_each(|(index, responder)| queue.add(index, responder, now));
        assert_eq!(queue.enqueue_due(at(0), |_| true), responders.len());
        queue
    }

    #[test]
    fn a_responder_gets_one_request_until_it_answers_and_the_least_busy_comes_first() {
        let mut queue = queue(&["a", "a", "a", "b"]);
        assert_eq!([queue.take(), queue.take(), queue.take()], [Some(0), Some(3), None]);
        assert!(queue.is_waiting());
        queue.succeeded(0, at(1000));
        assert_eq!([queue.take(), queue.take(), queue.take()], [Some(1), Some(2), None]);
        assert!(!queue.is_waiting());
        assert_eq!((queue.open(), queue.enqueue_due(at(0), |_| true)), (3, 0));
        queue.succeeded(3, at(50));
        assert_eq!(queue.next_check(), at(50));
    }

    #[test]
    fn a_failing_responder_pauses_all_its_certificates_and_a_failure_of_one_certificate_only_that_one() {
        let mut queue = queue(&["a", "a", "a"]);
        let failure = Failure { of_responder: true, retry_after: None };
        assert_eq!(queue.take(), Some(0));
        assert_eq!(queue.failed(0, failure, at(0), hour), 2);
        assert_eq!((queue.open(), queue.enqueue_due(at(3599), |_| true), queue.next_check()), (0, 0, at(3600)));
        assert_eq!((queue.enqueue_due(at(3600), |_| true), queue.take(), queue.take()), (3, Some(0), None));
        assert_eq!(
            (queue.failed(0, failure, at(3600), hour), queue.attempt(0).unwrap()),
            (2, Attempt { errors: 2, next: at(3 * 3600) })
        );
        assert_eq!((queue.enqueue_due(at(3 * 3600), |_| true), queue.take()), (3, Some(0)));
        let own = Failure { of_responder: false, retry_after: Some(at(99_999_999)) };
        assert_eq!(queue.failed(0, own, at(3 * 3600), hour), 0);
        assert_eq!(queue.attempt(0).unwrap().next, at(3 * 3600 + 86_400));
        assert_eq!([queue.take(), queue.take()], [Some(1), Some(2)]);
    }

    #[test]
    fn expired_certificates_are_not_queued_and_the_next_check_is_within_an_hour() {
        let mut queue = Queue::default();
        queue.add(0, "a", Attempt { errors: 0, next: Timestamp::MIN });
        assert_eq!((queue.enqueue_due(at(0), |_| false), queue.take(), queue.next_check()), (0, None, at(3600)));
        assert_eq!(queue.enqueue_due(at(0), |_| true), 1);
        queue.clear();
        assert_eq!((queue.open(), queue.enqueue_due(at(0), |_| true)), (0, 1));
    }
}
