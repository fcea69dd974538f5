//! When an order may follow another: CAs have issued certificates of seconds.

use jiff::{SignedDuration, Timestamp};

/// The least time between two orders that only the time makes due.
const LEAST_PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// Returns how long after an order of certificates with this lifetime the next one is made at the earliest, if only the time makes
/// it due: a tenth of the lifetime, and at least a minute.
#[must_use]
pub fn pause_after_order(life: SignedDuration) -> SignedDuration {
    (life / 10).max(LEAST_PAUSE)
}

/// Why the renewal of a domain is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A certificate was found to be revoked.
    Revoked,
    /// The CA of the certificates is no longer configured.
    CaGone,
    /// A certificate is missing, or does not do.
    Missing,
    /// The CA suggests to renew.
    Suggested,
    /// The certificates have reached their age.
    Time,
}

/// Returns when a renewal can begin that is due for this reason, if that is too soon after the last one, which has `ended` with new
/// certificates that are staged still or not. What is more than a matter of time does not wait, and a certificate that is missing
/// waits if the last renewal has brought it.
#[must_use]
pub fn too_soon(
    why: Why,
    ended: Option<Timestamp>,
    is_staged: bool,
    pause: SignedDuration,
    now: Timestamp,
) -> Option<Timestamp> {
    let waits = match why {
        Why::Time => true,
        Why::Missing => is_staged,
        Why::Revoked | Why::CaGone | Why::Suggested => false,
    };
    let again_at = ended.filter(|at| waits && *at <= now)? + pause;
    Some(again_at).filter(|at| *at > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    #[test]
    fn an_order_follows_another_after_a_tenth_of_the_life_and_a_minute() {
        let rows = [(-10, 60), (0, 60), (10, 60), (600, 60), (601, 60), (3600, 360), (90 * 86_400, 9 * 86_400)];
        for (life, expected) in rows {
            assert_eq!(pause_after_order(SignedDuration::from_secs(life)).as_secs(), expected, "{life}");
        }
    }

    #[test]
    fn a_renewal_that_only_the_time_makes_due_waits_after_the_last_one() {
        use Why::{CaGone, Missing, Revoked, Suggested, Time};
        // Why, the second of the end of the last one, whether its certificates are staged, seconds of the pause; when, at 0
        let rows = [
            (Time, None, false, 60, None),
            (Time, Some(-10), false, 60, Some(50)),
            (Time, Some(-10), true, 60, Some(50)),
            (Time, Some(0), true, 360, Some(360)),
            (Time, Some(-60), true, 60, None),
            (Time, Some(-61), true, 60, None),
            (Missing, Some(-10), true, 60, Some(50)),
            (Missing, Some(-10), false, 60, None),
            (Missing, None, true, 60, None),
            (Suggested, Some(-10), true, 60, None),
            (Revoked, Some(-10), true, 60, None),
            (CaGone, Some(-10), true, 60, None),
            // A clock that was wrong
            (Time, Some(5), true, 60, None),
        ];
        for row in rows {
            let (why, ended, is_staged, pause, expected) = row;
            let again_at = too_soon(why, ended.map(at), is_staged, SignedDuration::from_secs(pause), at(0));
            assert_eq!(again_at, expected.map(at), "{row:?}");
        }
    }
}
