//! How fast renewals may begin at one CA: how many are open, how close they follow each other, and when none may.

use jiff::{SignedDuration, Timestamp};

/// Limits that keep renewals within what one CA accepts. Shared by all domains that use this CA.
#[derive(Debug, Clone, PartialEq)]
pub struct CaLimits {
    /// Renewals that are open.
    open: usize,
    /// Renewals that may be open.
    room: usize,
    /// When the next renewal would begin if all followed each other at the same distance.
    next: Timestamp,
    /// No renewal may begin before this time.
    paused_until: Timestamp,
    /// Length of the last pause; zero once the CA has issued a certificate after it.
    pause: SignedDuration,
    /// Whether the CA has answered anything since the server has started.
    has_answered: bool,
    /// Refusals of single domains within [`CaLimits::ALIKE`].
    refusals: Vec<(Timestamp, Refusal)>,
}

/// The refusal of a domain's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Type of the problem, or the HTTP status.
    pub kind: String,
    /// The domain, or the name that the CA's answer says the refusal is about.
    pub about: String,
    /// The CA does not want to be asked about it before this moment.
    pub retry_after: Option<Timestamp>,
}

impl Default for CaLimits {
    fn default() -> Self {
        Self {
            open: 0,
            room: Self::MOST_OPEN,
            next: Timestamp::MIN,
            paused_until: Timestamp::MIN,
            pause: SignedDuration::ZERO,
            has_answered: false,
            refusals: Vec::new(),
        }
    }
}

impl CaLimits {
    /// Renewals that may be open at one CA at a time.
    pub const MOST_OPEN: usize = 32;
    /// Time between the beginnings of two renewals if the later one has to request a nonce: Let's Encrypt gives 20 in a
    /// second, 10 of them at once.
    pub const GAP: SignedDuration = SignedDuration::from_millis(50);
    /// Time between the beginnings of two renewals if the later one has a nonce from an earlier renewal: Let's Encrypt gives
    /// its directory 40 times in a second.
    pub const GAP_WITH_NONCE: SignedDuration = SignedDuration::from_millis(25);
    /// How much earlier a renewal may begin than it would at these distances.
    const BURST: SignedDuration = SignedDuration::from_millis(450);
    /// Length of the first pause if the CA sends no Retry-After.
    pub const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(1);
    /// The longest pause, whether the CA asked for it or not.
    pub const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);
    /// The time within which domains that are refused alike count together.
    const ALIKE: SignedDuration = SignedDuration::from_mins(1);
    /// So many domains that are refused alike mean that the CA would refuse all.
    const MOST_ALIKE: usize = 3;
    /// The most refusals that are kept.
    const MOST_REFUSALS: usize = 100;

    /// Checks whether a renewal may begin. A CA that has not answered yet has one: it may never answer.
    #[must_use]
    pub fn may_begin(&self, now: Timestamp) -> bool {
        let room = if self.has_answered { self.room } else { 1 };
        self.open < room && now + Self::BURST >= self.next && now >= self.paused_until
    }

    /// Returns the time before which no renewal may begin, if that is in the future.
    #[must_use]
    pub fn paused_until(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.paused_until).filter(|until| *until > now)
    }

    /// Returns when the next renewal may begin, by its distance from the last one.
    #[must_use]
    pub fn next(&self) -> Timestamp {
        self.next
    }

    /// Counts a renewal that has begun, with a nonce or without.
    pub fn begin(&mut self, now: Timestamp, has_nonce: bool) {
        self.open += 1;
        self.next = self.next.max(now) + if has_nonce { Self::GAP_WITH_NONCE } else { Self::GAP };
    }

    /// Counts a renewal that has ended, with or without success, or that asks nothing of the CA for a while.
    pub fn end(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Counts a renewal again that had asked nothing of the CA for a while.
    pub fn go_on(&mut self) {
        self.open += 1;
    }

    /// Notes that the CA has answered, whatever the answer.
    pub fn answered(&mut self) {
        self.has_answered = true;
    }

    /// Notes that the CA has issued a certificate: after a pause, twice as many renewals may be open as before.
    pub fn content(&mut self) {
        self.room = (self.room * 2).min(Self::MOST_OPEN);
        self.pause = SignedDuration::ZERO;
    }

    /// Notes that the CA refuses the requests of all domains for now, until `retry_after` if it says so, and returns the end of
    /// the pause. After the pause one renewal goes first. More refusals within a pause do not make it longer than the CA wants it.
    pub fn refused(&mut self, now: Timestamp, retry_after: Option<Timestamp>) -> Timestamp {
        let asked = retry_after.filter(|at| *at > now);
        self.room = 1;
        if now >= self.paused_until {
            self.pause = (self.pause * 2).clamp(Self::FIRST_PAUSE, Self::LONGEST_PAUSE);
            self.paused_until = now + self.pause.min(asked.map_or(self.pause, |at| at.duration_since(now)));
        }
        let longest = now + Self::LONGEST_PAUSE;
        self.paused_until = asked.map_or(self.paused_until, |at| self.paused_until.max(at.min(longest)));
        self.paused_until
    }

    /// Notes that the CA refuses the order of one domain. Once three different domains were refused alike within a minute, the CA
    /// is taken to refuse all, until the earliest moment that it named: returns the end of that pause.
    pub fn refused_one(&mut self, now: Timestamp, refusal: Refusal) -> Option<Timestamp> {
        self.refusals.retain(|(at, known)| {
            (*at..*at + Self::ALIKE).contains(&now) && (&known.kind, &known.about) != (&refusal.kind, &refusal.about)
        });
        self.refusals.truncate(Self::MOST_REFUSALS - 1);
        self.refusals.push((now, refusal.clone()));
        let alike = || self.refusals.iter().map(|(_, known)| known).filter(|known| known.kind == refusal.kind);
        if alike().count() < Self::MOST_ALIKE {
            return None;
        }
        let earliest = alike().filter_map(|known| known.retry_after).min();
        self.refusals.clear();
        Some(self.refused(now, earliest))
    }

    /// Ends the pause for a renewal that cannot wait longer. One renewal goes first, as after any pause.
    pub fn end_pause(&mut self) {
        self.paused_until = Timestamp::MIN;
    }

    /// Drops all waits, as after the clock was set back, when they would last too long by as much.
    pub fn forget_plans(&mut self) {
        (self.next, self.paused_until) = (Timestamp::MIN, Timestamp::MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    /// The limits of a CA that has answered.
    fn known() -> CaLimits {
        CaLimits { has_answered: true, ..CaLimits::default() }
    }

    #[test]
    fn a_ca_that_has_not_answered_has_one_renewal_which_counts_only_while_it_asks() {
        let mut limits = CaLimits::default();
        limits.begin(at(0), false);
        assert!(!limits.may_begin(at(10)));
        limits.end();
        assert!(limits.may_begin(at(10)), "a command runs");
        limits.go_on();
        assert!(!limits.may_begin(at(10)));
        limits.answered();
        assert!(limits.may_begin(at(10)));
    }

    #[test]
    fn three_domains_that_are_refused_alike_within_a_minute_stop_all() {
        // Second, type, what the refusal is about, Retry-After; the end of a pause of all
        type Row = (i64, &'static str, &'static str, Option<i64>, Option<i64>);
        let rows: [&[Row]; 7] = [
            &[(0, "x", "a", Some(600), None), (1, "x", "b", Some(500), None), (2, "x", "c", Some(700), Some(500))],
            &[(0, "x", "a", None, None), (1, "x", "b", None, None), (2, "x", "c", None, Some(62))],
            &[(0, "x", "a", None, None), (1, "x", "b", Some(5400), None), (2, "x", "c", None, Some(5400))],
            // One domain again and again, or another kind of refusal
            &[
                (0, "x", "a", None, None),
                (1, "x", "a", None, None),
                (2, "x", "a", None, None),
                (3, "x", "b", None, None),
            ],
            &[
                (0, "x", "a", None, None),
                (1, "y", "b", None, None),
                (2, "x", "c", None, None),
                (3, "x", "d", None, Some(63)),
            ],
            // More than a minute
            &[
                (0, "x", "a", None, None),
                (30, "x", "b", None, None),
                (60, "x", "c", None, None),
                (61, "x", "d", None, Some(121)),
            ],
            // The count starts over after the pause
            &[
                (0, "x", "a", Some(10), None),
                (0, "x", "b", Some(10), None),
                (0, "x", "c", Some(10), Some(10)),
                (10, "x", "d", Some(20), None),
                (11, "x", "e", Some(20), None),
                (12, "x", "f", Some(25), Some(20)),
            ],
        ];
        for row in rows {
            let mut limits = known();
            for (second, kind, about, retry_after, expected) in row {
                let retry_after = retry_after.map(at);
                let refusal = Refusal { kind: (*kind).to_owned(), about: (*about).to_owned(), retry_after };
                assert_eq!(limits.refused_one(at(*second), refusal), expected.map(at), "{row:?}");
                assert_eq!(limits.paused_until(at(*second)), expected.map(at), "{row:?}");
            }
        }
    }

    #[test]
    fn a_pause_that_ends_early_is_followed_by_one_renewal_and_a_longer_pause() {
        let mut limits = known();
        limits.refused(at(0), None);
        assert!(!limits.may_begin(at(10)));
        limits.end_pause();
        assert!(limits.may_begin(at(10)));
        limits.begin(at(10), true);
        assert!(!limits.may_begin(at(20)), "one goes first");
        assert_eq!(limits.refused(at(20), None), at(140));
    }

    #[test]
    fn ten_renewals_may_begin_together_and_then_one_at_a_time() {
        let mut limits = known();
        let mut now = at(0);
        for _ in 0..9 {
            limits.begin(now, false);
        }
        for _ in 9..CaLimits::MOST_OPEN {
            assert!(limits.may_begin(now));
            limits.begin(now, false);
            assert!(!limits.may_begin(now));
            now += CaLimits::GAP;
        }
        assert!(!limits.may_begin(now + SignedDuration::from_hours(1)));
        limits.end();
        assert!(limits.may_begin(now));
    }

    #[test]
    fn renewals_with_a_nonce_may_follow_closer() {
        let mut limits = known();
        let mut now = at(0);
        for _ in 0..10 {
            limits.begin(now, false);
        }
        for _ in 10..CaLimits::MOST_OPEN {
            assert!(!limits.may_begin(now));
            now += CaLimits::GAP_WITH_NONCE;
            now += if limits.may_begin(now) { SignedDuration::ZERO } else { CaLimits::GAP_WITH_NONCE };
            assert!(limits.may_begin(now));
            limits.begin(now, true);
        }
        assert_eq!(now, at(0) + CaLimits::GAP + CaLimits::GAP_WITH_NONCE * 21);
    }

    #[test]
    fn a_refusal_stops_all_renewals_for_as_long_as_the_ca_says() {
        // Retry-After in seconds, pause in seconds
        let rows =
            [(None, 60), (Some(5), 5), (Some(0), 60), (Some(90), 90), (Some(3600), 3600), (Some(200_000), 86_400)];
        for (retry_after, pause) in rows {
            let mut limits = known();
            assert_eq!(limits.refused(at(0), retry_after.map(at)), at(pause), "{retry_after:?}");
            assert!(!limits.may_begin(at(pause - 1)) && limits.may_begin(at(pause)), "{retry_after:?}");
        }
    }

    #[test]
    fn pauses_double_until_a_certificate_is_issued_and_one_renewal_goes_first_after_each() {
        let mut limits = known();
        let mut now = at(0);
        for pause in [60, 120, 240, 480] {
            let until = limits.refused(now, None);
            assert_eq!(until, now + SignedDuration::from_secs(pause));
            // A renewal that was under way.
            assert_eq!(limits.refused(now, None), until);
            now = until;
            limits.begin(now, false);
            assert!(!limits.may_begin(at(1_000_000)), "one at a time");
            limits.end();
        }
        for open in [2, 4, 8, 16, 32, 32] {
            limits.content();
            assert_eq!(limits.room, open);
        }
        assert_eq!(limits.refused(now, None), now + SignedDuration::from_mins(1));
        for _ in 0..2000 {
            now = limits.refused(now, None);
        }
        assert_eq!(limits.refused(now, None), now + SignedDuration::from_hours(24));
    }

    #[test]
    fn a_limit_of_a_week_is_asked_about_once_a_day() {
        let mut limits = known();
        let week = at(7 * 86_400);
        let mut now = at(0);
        let mut asked = 0;
        while now < week {
            now = limits.refused(now, Some(week));
            asked += 1;
        }
        assert_eq!(asked, 7);
    }

    #[test]
    fn a_clock_that_was_set_back_causes_no_wait() {
        let mut limits = known();
        limits.begin(at(5000), false);
        limits.refused(at(5000), None);
        limits.forget_plans();
        assert!(!limits.may_begin(at(0)), "one is open");
        limits.end();
        assert!(limits.may_begin(at(0)));
    }
}
