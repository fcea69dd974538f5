//! When something is due: renewals, and the next attempt after a failure. Pure functions of time.

use jiff::{SignedDuration, Timestamp};

use crate::model::Window;

/// Longest wait between two attempts.
const MAX_DELAY: SignedDuration = SignedDuration::from_hours(24);

/// A validity: from, until.
pub type Validity = (Timestamp, Timestamp);

/// When the certificates are to be renewed: the earliest moment at which the window of one of them opens. One that
/// is missing (`None`) is due `now`.
#[must_use]
pub fn renew_at(validities: &[Option<Validity>], window: Window, now: Timestamp) -> Timestamp {
    let opens = |validity: &Option<Validity>| validity.map_or(now, |(from, until)| window.opens(from, until));
    validities.iter().map(opens).min().unwrap_or(now)
}

/// How long to wait after the n-th failure in a row: `base` doubled each time and at most a day, which permanent
/// failures wait at once. `random` in 0..1 spreads it by half to either side, within these limits.
#[must_use]
pub fn back_off(failures: u32, permanent: bool, base: SignedDuration, random: f64) -> SignedDuration {
    let base = base.min(MAX_DELAY);
    let doubled = base.as_secs_f64() * 2_f64.powi(i32::try_from(failures.clamp(1, 64) - 1).unwrap_or(0));
    let exact = SignedDuration::from_secs_f64(if permanent { f64::MAX } else { doubled }.min(MAX_DELAY.as_secs_f64()));
    let spread = SignedDuration::from_secs_f64(exact.as_secs_f64() * (random.clamp(0.0, 1.0) - 0.5));
    (exact + spread).clamp(base, MAX_DELAY)
}

/// Failed validations of a name that a CA is to see in an hour at most, from a domain that all its names stand for.
pub const MAX_VALIDATION_FAILURES: usize = 5;

/// How many of these the server uses by itself: the last one is for an administrator who has put something right.
pub const OWN_VALIDATION_FAILURES: usize = MAX_VALIDATION_FAILURES - 1;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Those of the last hour. What is to come is of a clock that was wrong.
#[must_use]
pub fn recent(failures: &[Timestamp], now: Timestamp) -> Vec<Timestamp> {
    let mut recent: Vec<_> = failures.iter().copied().filter(|at| *at <= now && *at > now - HOUR).collect();
    recent.sort_unstable();
    recent
}

/// The moment from which on there were fewer than `most` failures within the hour before; `None` if that is now.
#[must_use]
pub fn validation_floor(failures: &[Timestamp], most: usize, now: Timestamp) -> Option<Timestamp> {
    let recent = recent(failures, now);
    let too_many = recent.len().checked_sub(most)?;
    Some(*recent.get(too_many)? + HOUR)
}

/// Time until the next check of all domains: the interval, spread by half to either side.
#[must_use]
pub fn check_delay(interval: SignedDuration, random: f64) -> SignedDuration {
    SignedDuration::from_secs_f64(interval.as_secs_f64() * (0.5 + random.clamp(0.0, 1.0)))
}

/// How long after it came due the renewal of a certificate begins that is good for `left`: at most a check interval,
/// and at most a tenth of what is left. `chance` in 0..1 is the certificate's own, so that it is the same after each
/// restart, and another one for each server.
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
            let (mut now, mut failures, mut all) = (Timestamp::from_second(1_000_000).unwrap(), Vec::new(), Vec::new());
            for errors in 1..200 {
                failures = recent(&failures, now);
                failures.push(now);
                all.push(now);
                // Somebody restarts the server all the time.
                let (most, delay) = if errors % 3 == 0 {
                    (MAX_VALIDATION_FAILURES, SignedDuration::ZERO)
                } else {
                    (OWN_VALIDATION_FAILURES, back_off(errors % 3, false, SignedDuration::from_secs(base), random))
                };
                now = (now + delay).max(validation_floor(&failures, most, now).unwrap_or(now));
            }
            let hour = |from: &Timestamp| all.iter().filter(|at| *at >= from && **at < *from + HOUR).count();
            assert_eq!(all.iter().map(hour).max(), Some(MAX_VALIDATION_FAILURES), "{base} {random}");
        }
    }

    #[test]
    fn a_missing_certificate_is_due_now() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let day = SignedDuration::from_hours(24);
        let validity = Some((now, now + day * 90));
        let window = Window::Percent(33);
        assert_eq!(renew_at(&[validity, None], window, now), now);
        assert_eq!(renew_at(&[], window, now), now);
        assert!(renew_at(&[validity], window, now) > now + day * 60);
    }

    #[test]
    fn servers_started_together_do_not_check_in_the_same_minute() {
        let interval = SignedDuration::from_hours(12);
        assert_eq!(check_delay(interval, 0.0), interval / 2);
        assert_eq!(check_delay(interval, 1.0), interval * 3 / 2);
    }

    #[test]
    fn the_spread_of_renewals_is_short_beside_what_is_left() {
        let (minute, hour, day) =
            (SignedDuration::from_mins(1), SignedDuration::from_hours(1), SignedDuration::from_hours(24));
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
