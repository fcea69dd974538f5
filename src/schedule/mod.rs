//! When something is due: renewals, and the next attempt after a failure. Pure functions of time.

#![forbid(unsafe_code)]

mod after_order;
mod ca_limits;

use jiff::{SignedDuration, Timestamp};

use crate::model::Window;

pub use after_order::{Why, pause_after_order, too_soon};
pub use ca_limits::{CaLimits, Refusal};

/// A certificate that becomes valid within this time counts as valid, since clocks differ.
const EARLY: SignedDuration = SignedDuration::from_mins(5);

/// Longest wait between two attempts.
const MAX_DELAY: SignedDuration = SignedDuration::from_hours(24);

/// Certificates with a shorter lifetime are renewed at half of it: a third would leave little time for failures.
pub const SHORT_LIFE: SignedDuration = SignedDuration::from_hours(10 * 24);
const HALF_OF_LIFE: Window = Window::Percent(50);

/// The part of the lifetime that is left for attempts that fail, however late the CA suggests to renew.
const LATEST: Window = Window::Percent(10);

/// A source of random numbers in 0..1.
pub type Random = fn() -> f64;

/// The validity of a certificate: not before, not after.
pub type Validity = (Timestamp, Timestamp);

/// When a usable certificate is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Validity of the certificate.
    pub validity: Validity,
    /// When the certificate is renewed.
    pub at: Timestamp,
}

impl Plan {
    /// Makes the plan for a certificate: renewal at the moment that the CA suggests (RFC 9773 section 4.2), as long as a tenth of the
    /// lifetime is left, and no later than the window opens that is `configured`. If the CA suggests nothing, renewal is when the
    /// window opens; a certificate with a short lifetime is renewed at half of it unless another window is configured.
    #[must_use]
    pub fn new(validity @ (from, until): Validity, configured: Option<Window>, suggested: Option<Timestamp>) -> Self {
        let window = configured.unwrap_or(Window::RENEW);
        let is_short = window == Window::RENEW && until.duration_since(from) < SHORT_LIFE;
        let usual = if is_short { HALF_OF_LIFE } else { window };
        let latest = configured.unwrap_or(LATEST);
        let opens = |window: Window| window.opens(from, until);
        Self { validity, at: suggested.map_or_else(|| opens(usual), |moment| moment.min(opens(latest))) }
    }

    /// Checks whether the certificate is due at `now`, or within a tenth of its lifetime after it.
    fn is_near(&self, now: Timestamp) -> bool {
        let life = self.validity.1.duration_since(self.validity.0);
        self.at.checked_sub(life / 10).is_ok_and(|near| near <= now)
    }
}

/// Returns when the first of these certificates is renewed. A certificate that is missing or unusable (`None`) is due `now`.
#[must_use]
pub fn renew_at(plans: &[Option<Plan>], now: Timestamp) -> Timestamp {
    plans.iter().map(|plan| plan.map_or(now, |plan| plan.at)).min().unwrap_or(now)
}

/// Marks the certificates to renew: once one is due, also those that are due soon, as renewing them one by one would need as
/// many restarts.
#[must_use]
pub fn to_renew(plans: &[Option<Plan>], now: Timestamp) -> Vec<bool> {
    let is_any = renew_at(plans, now) <= now;
    plans.iter().map(|plan| is_any && plan.is_none_or(|plan| plan.is_near(now))).collect()
}

/// Checks whether a set that becomes valid at `from` has to wait: some set that is `served` is valid now, and stays valid
/// until then.
#[must_use]
pub fn is_early(from: Timestamp, mut served: impl Iterator<Item = Validity>, now: Timestamp) -> bool {
    from > now + EARLY && served.any(|(since, until)| since <= from && now < until)
}

/// Returns the wait after the n-th failure in a row: `base`, doubled with each failure, and at most a day. A permanent failure
/// waits a day at once. `random` in 0..1 spreads the wait by half to either side, within these limits.
#[must_use]
pub fn back_off(failures: u32, permanent: bool, base: SignedDuration, random: f64) -> SignedDuration {
    let base = base.min(MAX_DELAY);
    let doubled = base.as_secs_f64() * 2_f64.powi(i32::try_from(failures.clamp(1, 64) - 1).unwrap_or(0));
    let exact = SignedDuration::from_secs_f64(if permanent { f64::MAX } else { doubled }.min(MAX_DELAY.as_secs_f64()));
    let spread = SignedDuration::from_secs_f64(exact.as_secs_f64() * (random.clamp(0.0, 1.0) - 0.5));
    (exact + spread).clamp(base, MAX_DELAY)
}

/// Returns the wait after a failure, `delay`, shortened for a certificate in use with a short lifetime: at most an eighth of its
/// remaining time, or half of it after a permanent failure, but at least `base`. So there are more attempts before it expires.
#[must_use]
pub fn delay_for_short_life(
    delay: SignedDuration,
    validity: Option<Validity>,
    permanent: bool,
    base: SignedDuration,
    now: Timestamp,
) -> SignedDuration {
    match validity {
        Some((from, until)) if until > now && until.duration_since(from) < SHORT_LIFE => {
            let share = until.duration_since(now) / if permanent { 2 } else { 8 };
            delay.min(share.max(base))
        }
        _ => delay,
    }
}

/// The least and the most that is waited because a CA asks for it by Retry-After.
const PATIENCE: [SignedDuration; 2] = [SignedDuration::from_mins(1), SignedDuration::from_hours(7 * 24)];

/// Returns how long a CA's Retry-After is waited for at most: a third of what is left of the certificate in use, which ends at
/// `until`, within a minute and a week. Where there is no certificate, nothing is lost by waiting for a week.
#[must_use]
pub fn patience(until: Option<Timestamp>, now: Timestamp) -> SignedDuration {
    let [least, most] = PATIENCE;
    until.map_or(most, |until| (until.duration_since(now) / 3).clamp(least, most))
}

/// Returns when to check a domain again after a renewal, if its certificate is valid until `until` and due at `due`. If it is due
/// already, as with a CA that dates certificates back, that is in the middle of the remaining time, or after `least`; `None` if
/// no time remains.
#[must_use]
pub fn check_after(due: Timestamp, until: Timestamp, least: SignedDuration, now: Timestamp) -> Option<Timestamp> {
    if due > now {
        return Some(due);
    }
    let left = until.duration_since(now);
    left.is_positive().then(|| now + (left / 2).max(least))
}

/// Most failed validations of a domain's names that the CA sees within an hour.
pub const MAX_VALIDATION_FAILURES: usize = 5;

/// Most failed validations within an hour that the server causes by itself: the last one is left to an administrator who
/// retries by hand.
pub const AUTOMATIC_VALIDATION_FAILURES: usize = MAX_VALIDATION_FAILURES - 1;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Returns the failures within the last hour, sorted. A time in the future comes from a clock that was wrong, and is left out.
#[must_use]
pub fn recent(failures: &[Timestamp], now: Timestamp) -> Vec<Timestamp> {
    let mut recent: Vec<_> = failures.iter().copied().filter(|at| *at <= now && *at > now - HOUR).collect();
    recent.sort_unstable();
    recent
}

/// Returns the first time at which fewer than `most` failures lie within the hour before; `None` if that is now.
#[must_use]
pub fn validation_floor(failures: &[Timestamp], most: usize, now: Timestamp) -> Option<Timestamp> {
    let recent = recent(failures, now);
    let too_many = recent.len().checked_sub(most)?;
    Some(*recent.get(too_many)? + HOUR)
}

/// Returns the time until the next check of all domains: the interval, spread by half to either side.
#[must_use]
pub fn check_delay(interval: SignedDuration, random: f64) -> SignedDuration {
    SignedDuration::from_secs_f64(interval.as_secs_f64() * (0.5 + random.clamp(0.0, 1.0)))
}

/// Returns the delay between the due time of a renewal and its beginning, for a certificate that is valid for another `left`: at
/// most a check interval and at most a tenth of `left`. `chance` in 0..1 depends on certificate and server, so that the delay is
/// the same after each restart.
#[must_use]
pub fn spread(left: SignedDuration, interval: SignedDuration, chance: f64) -> SignedDuration {
    let most = interval.min(left / 10).max(SignedDuration::ZERO);
    SignedDuration::from_secs_f64(most.as_secs_f64() * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_within_limits_after_any_number_of_failures() {
        let base = SignedDuration::from_secs(30);
        for failures in 0..2000 {
            for random in [0.0, 0.5, 1.0] {
                let delay = back_off(failures, false, base, random);
                assert!(delay >= base && delay <= MAX_DELAY, "{failures}: {delay:?}");
            }
        }
        for failures in [0, 1, u32::MAX] {
            assert_eq!(back_off(failures, false, SignedDuration::MAX, 0.5), MAX_DELAY);
        }
    }

    #[test]
    fn the_first_failure_waits_once_and_then_it_doubles() {
        let base = SignedDuration::from_secs(30);
        let delays: Vec<_> = (1..=4).map(|n| back_off(n, false, base, 0.5).as_secs()).collect();
        assert_eq!(delays, [30, 60, 120, 240]);
        assert_eq!(back_off(1, true, base, 0.5), MAX_DELAY);
    }

    #[test]
    fn failures_near_the_end_of_a_short_life_do_not_wait_past_it() {
        let from = Timestamp::UNIX_EPOCH;
        let base = SignedDuration::from_secs(30);
        let mins = SignedDuration::from_mins;
        let rows = [
            // Life and age in minutes, the wait without it, permanent; the wait in seconds
            (60, 33, mins(1), false, 60),
            (60, 33, mins(60), false, 27 * 60 / 8),
            (60, 33, MAX_DELAY, true, 27 * 30),
            (60, 59, MAX_DELAY, false, 30),
            (60, 60, MAX_DELAY, false, 86_400),
            (6 * 1440, 3 * 1440, MAX_DELAY, false, 9 * 3600),
            (6 * 1440, 3 * 1440, MAX_DELAY, true, 86_400),
            (90 * 1440, 89 * 1440, MAX_DELAY, false, 86_400),
        ];
        for (life, age, delay, permanent, seconds) in rows {
            let wait = delay_for_short_life(delay, Some((from, from + mins(life))), permanent, base, from + mins(age));
            assert_eq!(wait.as_secs(), seconds, "{life} {age} {delay:?} {permanent}");
        }
        assert_eq!(delay_for_short_life(MAX_DELAY, None, false, base, from), MAX_DELAY);
    }

    #[test]
    fn a_retry_after_takes_at_most_a_third_of_what_is_left_of_the_life() {
        let now = Timestamp::UNIX_EPOCH;
        let at = |minutes: i64| Timestamp::from_second(60 * minutes).unwrap();
        const DAY: i64 = 24 * 60;
        // Minutes until the certificate ends, and of patience
        let rows = [
            (None, 7 * DAY),
            (Some(90 * DAY), 7 * DAY),
            (Some(21 * DAY), 7 * DAY),
            (Some(20 * DAY), 20 * DAY / 3),
            (Some(3 * DAY), DAY),
            (Some(60), 20),
            (Some(4), 1),
            (Some(3), 1),
            (Some(2), 1),
            (Some(0), 1),
            (Some(-DAY), 1),
        ];
        for (until, expected) in rows {
            assert_eq!(patience(until.map(at), now).as_mins(), expected, "{until:?}");
        }
    }

    #[test]
    fn a_renewed_domain_is_checked_when_it_comes_due() {
        let now = Timestamp::UNIX_EPOCH;
        let at = |minutes: i64| Timestamp::from_second(60 * minutes).unwrap();
        let rows = [(30, 60, Some(30)), (0, 60, Some(30)), (-60, 60, Some(30)), (0, 1, Some(5)), (-60, 0, None)];
        for (due, until, expected) in rows {
            let at_next = check_after(at(due), at(until), SignedDuration::from_mins(5), now);
            assert_eq!(at_next, expected.map(at), "{due} {until}");
        }
    }

    #[test]
    fn validations_fail_five_times_an_hour_at_most() {
        let at = |minutes: i64| Timestamp::from_second(1_000_000 + 60 * minutes).unwrap();
        // Minutes of failures, and of the moment at which there may be another one, looked at in minute 30.
        let rows: [(&[i64], Option<i64>); 8] = [
            (&[], None),
            (&[1, 2, 3, 4], None),
            (&[0, 1, 2, 3, 4], Some(60)),
            (&[4, 3, 2, 1, 0], Some(60)),
            (&[0, 1, 2, 3, 4, 29], Some(61)),
            (&[-30, 0, 1, 2, 3], None),
            (&[-29, 0, 1, 2, 3], Some(31)),
            (&[1, 2, 3, 31, 500], None),
        ];
        for (failures, expected) in rows {
            let failures: Vec<_> = failures.iter().map(|minute| at(*minute)).collect();
            assert_eq!(validation_floor(&failures, MAX_VALIDATION_FAILURES, at(30)), expected.map(at), "{failures:?}");
        }
    }

    #[test]
    fn no_delay_makes_more_than_five_failures_in_any_hour() {
        for (base, random) in [(1, 0.0), (5, 0.0), (5, 0.5), (30, 1.0)] {
            let mut now = Timestamp::from_second(1_000_000).unwrap();
            let mut failures = Vec::new();
            let mut all = Vec::new();
            for errors in 1..200 {
                failures = recent(&failures, now);
                failures.push(now);
                all.push(now);
                // The server is restarted again and again.
                let (most, delay) = if errors % 3 == 0 {
                    (MAX_VALIDATION_FAILURES, SignedDuration::ZERO)
                } else {
                    (
                        AUTOMATIC_VALIDATION_FAILURES,
                        back_off(errors % 3, false, SignedDuration::from_secs(base), random),
                    )
                };
                now = (now + delay).max(validation_floor(&failures, most, now).unwrap_or(now));
            }
            let hour = |from: &Timestamp| all.iter().filter(|at| *at >= from && **at < *from + HOUR).count();
            assert_eq!(all.iter().map(hour).max(), Some(MAX_VALIDATION_FAILURES), "{base} {random}");
        }
    }

    fn hours(hours: i64) -> SignedDuration {
        SignedDuration::from_hours(hours)
    }

    /// Returns the plan for a certificate with a lifetime of this number of hours, with the configured window, if the text is not
    /// empty, and the CA's suggestion.
    fn plan(life: i64, window: &str, suggested: Option<i64>) -> Plan {
        let from = Timestamp::UNIX_EPOCH;
        let configured = Some(window).filter(|text| !text.is_empty()).map(|text| Window::parse(text).unwrap());
        Plan::new((from, from + hours(life)), configured, suggested.map(|after| from + hours(after)))
    }

    #[test]
    fn renewal_is_at_the_window_or_half_of_a_short_life_or_when_the_ca_suggests() {
        let rows = [
            // Life and suggestion in hours; when, in minutes
            (90 * 24, "", None, 86_832),
            (10 * 24, "", None, 9648),
            (10 * 24 - 1, "", None, 7170),
            (160, "", None, 4800),
            (1, "", None, 30),
            // Nothing is configured: the CA says when, earlier or later, until a tenth is left.
            (90 * 24, "", Some(1000), 60_000),
            (90 * 24, "", Some(1900), 114_000),
            (90 * 24, "", Some(1944), 116_640),
            (90 * 24, "", Some(1945), 116_640),
            (90 * 24, "", Some(9999), 116_640),
            (160, "", Some(-5), -300),
            (160, "", Some(100), 6000),
            (160, "", Some(120), 7200),
            (160, "", Some(150), 8640),
            // Some value is configured, also the default one: its window is the latest moment.
            (90 * 24, "33%", None, 86_832),
            (90 * 24, "33%", Some(1000), 60_000),
            (90 * 24, "33%", Some(2000), 86_832),
            (90 * 24, "5%", Some(2000), 120_000),
            (90 * 24, "5%", Some(2100), 123_120),
            (160, "33%", None, 4800),
            (160, "33%", Some(100), 6000),
            (160, "33%", Some(120), 6432),
            (160, "20%", None, 7680),
            (160, "20%", Some(150), 7680),
            (160, "2d", None, 6720),
            (160, "2d", Some(-5), -300),
        ];
        for (life, window, suggested, minutes) in rows {
            let at = plan(life, window, suggested).at;
            assert_eq!(at.as_second() / 60, minutes, "{life} h, '{window}', {suggested:?}");
        }
    }

    #[test]
    fn a_certificate_that_is_missing_is_due_now() {
        let now = Timestamp::UNIX_EPOCH;
        let plan = plan(2160, "33%", None);
        assert_eq!(renew_at(&[Some(plan), None], now), now);
        assert_eq!(renew_at(&[], now), now);
        assert_eq!(renew_at(&[Some(plan)], now), plan.at);
    }

    #[test]
    fn certificates_that_are_due_soon_are_renewed_with_those_that_are_due() {
        let start = Timestamp::UNIX_EPOCH;
        let a = plan(1000, "50%", None);
        let b = plan(1000, "41%", None);
        let far = plan(1000, "39%", None);
        let rows = [
            (vec![Some(a), Some(b)], 0, vec![false, false]),
            (vec![Some(a), Some(b)], 499, vec![false, false]),
            (vec![Some(a), Some(b)], 500, vec![true, true]),
            (vec![Some(a), Some(far)], 500, vec![true, false]),
            (vec![Some(a), None], 0, vec![false, true]),
            (vec![Some(a), None], 400, vec![true, true]),
            (vec![None, None], 0, vec![true, true]),
        ];
        for (plans, after, expected) in rows {
            assert_eq!(to_renew(&plans, start + hours(after)), expected, "{plans:?} {after}");
        }
        // Two that were issued minutes apart: one renewal brings both.
        let later = start + SignedDuration::from_mins(3);
        let second = Plan::new((later, later + hours(2160)), Some(Window::RENEW), None);
        let first = plan(2160, "33%", None);
        assert_eq!(to_renew(&[Some(first), Some(second)], first.at), [true, true]);
    }

    #[test]
    fn servers_started_together_do_not_check_in_the_same_minute() {
        let interval = SignedDuration::from_hours(12);
        assert_eq!(check_delay(interval, 0.0), interval / 2);
        assert_eq!(check_delay(interval, 1.0), interval * 3 / 2);
    }

    #[test]
    fn the_spread_of_renewals_is_short_compared_with_the_remaining_time() {
        let minute = SignedDuration::from_mins(1);
        let hour = SignedDuration::from_hours(1);
        let day = SignedDuration::from_hours(24);
        let rows = [
            (day * 30, hour * 12, hour * 12),
            (day * 2, hour * 12, hour * 24 / 5),
            (minute * 20, hour * 12, minute * 2),
            (day * 30, SignedDuration::from_secs(1), SignedDuration::from_secs(1)),
            (SignedDuration::ZERO, hour, SignedDuration::ZERO),
            (-day, hour, SignedDuration::ZERO),
        ];
        for (left, interval, most) in rows {
            assert_eq!(spread(left, interval, 0.0), SignedDuration::ZERO);
            assert_eq!(spread(left, interval, 0.5), most / 2, "{left:?}");
            assert_eq!(spread(left, interval, 1.0), most, "{left:?}");
        }
    }

    #[test]
    fn a_thousand_servers_restarted_together_do_not_renew_in_the_same_minute() {
        let mut minutes = std::collections::BTreeMap::<i64, u32>::new();
        for server in 0..1000_u32 {
            let chance = f64::from(server.wrapping_mul(2_654_435_761)) / f64::from(u32::MAX);
            let delay = spread(SignedDuration::from_hours(30 * 24), SignedDuration::from_hours(12), chance);
            *minutes.entry(delay.as_mins()).or_default() += 1;
        }
        assert!(minutes.values().all(|servers| *servers < 10), "{minutes:?}");
    }
}
