//! When a response is valid and when the next one is to be fetched. Pure functions of time.

use jiff::{SignedDuration, Timestamp};

use crate::crypto::OcspAnswer;
use crate::model::{Window, time};

/// The validity of a response: from, until.
pub type Validity = (Timestamp, Timestamp);

/// The validity of a response that does not give one.
const USUAL_LIFE: SignedDuration = SignedDuration::from_hours(12);

/// The most that a responder's clock may be ahead of ours.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// The longest wait for a newer response while the current one nears its end.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// Why a response is not valid now.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FreshnessError {
    /// The response is not valid yet.
    #[error("it is valid from {} on; check the clock of this machine", time::format_gmt(*.0))]
    TooEarly(Timestamp),
    /// The response is no longer valid.
    #[error("it was valid until {}; check the clock of this machine, or report this to the CA", time::format_gmt(*.0))]
    Expired(Timestamp),
}

/// Returns the validity of an answer.
///
/// # Errors
/// If the answer is not valid now.
pub fn check(answer: &OcspAnswer, now: Timestamp) -> Result<Validity, FreshnessError> {
    let from = answer.this_update;
    let until = answer.next_update.or_else(|| from.checked_add(USUAL_LIFE).ok()).unwrap_or(from);
    match () {
        () if from > now + TOLERANCE => Err(FreshnessError::TooEarly(from)),
        () if until <= now => Err(FreshnessError::Expired(until)),
        () => Ok((from, until)),
    }
}

/// Returns when to fetch the successor of a valid response: when the window at its end opens. For a response that was handed
/// out
/// in that window, half-way to its end, but not sooner than after `pause`.
#[must_use]
pub fn next_fetch((from, until): Validity, window: Window, pause: SignedDuration, now: Timestamp) -> Timestamp {
    let opens = window.opens(from, until);
    if opens > now {
        return opens;
    }
    let half = (until.duration_since(now) / 2).min(LONGEST_PAUSE);
    now.checked_add(half.max(pause)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Revocation;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_response_is_good_between_its_dates_or_for_half_a_day() {
        const HALF_DAY: i64 = 12 * 3600;
        // Its dates, and until when it is good.
        let rows = [
            (-60, Some(60), Ok(60)),
            (-60, Some(1), Ok(1)),
            (-60, Some(0), Err(FreshnessError::Expired(at(0)))),
            (-60, Some(-120), Err(FreshnessError::Expired(at(-120)))),
            (300, Some(600), Ok(600)),
            (301, Some(600), Err(FreshnessError::TooEarly(at(301)))),
            (200, Some(100), Ok(100)),
            (0, None, Ok(HALF_DAY)),
            (1 - HALF_DAY, None, Ok(1)),
            (-HALF_DAY, None, Err(FreshnessError::Expired(at(0)))),
        ];
        for (from, until, expected) in rows {
            let this_update = at(from);
            let next_update = until.map(at);
            let answer = OcspAnswer { revocation: Revocation::Good, this_update, next_update, revoked_at: None };
            assert_eq!(check(&answer, at(0)), expected.map(|until| (at(from), at(until))), "{from} {until:?}");
        }
    }

    #[test]
    fn the_next_is_fetched_in_the_window_and_never_in_a_hurry() {
        let rows = [
            // from, until, window, pause; when
            (0, 1000, "33%", 30, 670),
            (-600, 400, "33%", 30, 70),
            (-700, 300, "33%", 30, 150),
            (-950, 50, "33%", 30, 30),
            (-999, 1, "33%", 30, 30),
            (-9000, 90_000, "99%", 30, 3600),
            (-9000, 90_000, "30d", 30, 3600),
            (0, 604_800, "2d", 30, 604_800 - 172_800),
            (0, 604_800, "33%", 30, 405_216),
            (-999, 1, "33%", 90_000, 90_000),
        ];
        for (from, until, window, pause, expected) in rows {
            let window = Window::parse(window).unwrap();
            let next = next_fetch((at(from), at(until)), window, SignedDuration::from_secs(pause), at(0));
            assert_eq!(next, at(expected), "{from} {until} {window}");
        }
    }
}
