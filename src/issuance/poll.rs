//! How often a CA is polled.

use jiff::{SignedDuration, Timestamp};

/// A wait for the CA to finish something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Poll {
    /// When the wait began.
    pub since: Timestamp,
    /// Answers from before this moment are out of date.
    pub at: Timestamp,
    /// Number of polls.
    pub rounds: u32,
}

impl Poll {
    const FIRST: SignedDuration = SignedDuration::from_millis(100);
    const LONGEST_AT_FIRST: SignedDuration = SignedDuration::from_secs(1);
    const AT_FIRST: SignedDuration = SignedDuration::from_secs(10);
    const LONGEST: SignedDuration = SignedDuration::from_secs(10);
    const LIMIT: SignedDuration = SignedDuration::from_secs(300);

    /// Starts a wait now; the first poll comes a little later.
    #[must_use]
    pub fn start(now: Timestamp) -> Self {
        Self { since: now, at: now + Self::FIRST, rounds: 1 }
    }

    /// Returns when to poll again: after 100 ms, doubling; at most a second while the wait is young; not before `floor`.
    #[must_use]
    pub fn next_at(&self, now: Timestamp, floor: Option<Timestamp>) -> Timestamp {
        let young = now.duration_since(self.since) < Self::AT_FIRST;
        let longest = if young { Self::LONGEST_AT_FIRST } else { Self::LONGEST };
        let delay = (Self::FIRST * (1 << self.rounds.min(7))).min(longest);
        floor.map_or(now + delay, |floor| floor.max(now + delay))
    }

    /// Returns the wait after the decision to poll again at `at`.
    #[must_use]
    pub fn again(self, at: Timestamp) -> Self {
        Self { at, rounds: self.rounds.saturating_add(1), ..self }
    }

    /// Whether the wait has taken too long.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.since) > Self::LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_and_stay_below_a_second_at_first() {
        let start = Timestamp::UNIX_EPOCH;
        let mut poll = Poll::start(start);
        let mut now = start;
        let mut delays = Vec::new();
        for _ in 0..18 {
            let next = poll.next_at(now, None);
            delays.push((next.duration_since(now).as_millis()) as u64);
            (poll, now) = (poll.again(next), next);
        }
        assert_eq!(delays[..5], [200, 400, 800, 1000, 1000]);
        assert_eq!(delays[16..], [10_000, 10_000]);
        assert!(!poll.is_over(now) && poll.is_over(now + SignedDuration::from_secs(300)));
    }

    #[test]
    fn retry_after_is_a_floor() {
        let now = Timestamp::UNIX_EPOCH;
        let floor = now + SignedDuration::from_secs(30);
        assert_eq!(Poll::start(now).next_at(now, Some(floor)), floor);
    }
}
