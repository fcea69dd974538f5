//! The rule for which pair of a key and a certificate a domain gets, for one of its key types.

use jiff::Timestamp;

use crate::crypto::Summary;
use crate::schedule::Validity;

/// A pair that may be chosen, with the facts about its certificate that decide.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<P> {
    pub(crate) pair: P,
    /// SHA-256 of the certificate.
    sha256: String,
    validity: Validity,
    /// When the pair was written to the store; `None` where the order of writing does not count.
    written: Option<Timestamp>,
}

/// The outcome of a renewal for a key type.
#[derive(Debug, Clone)]
pub(crate) enum Staged<P> {
    /// There is no renewal, or it does not count.
    NoRenewal,
    /// A new pair.
    Brought(Candidate<P>),
    /// No pair, as the finished renewal did not include this key type. With the reason why there is none.
    LeftOut(String),
    /// No pair yet: the renewal goes on. With what is missing.
    Awaited(String),
    /// A pair that cannot be used, for this reason.
    Damaged(String),
}

/// All pairs of a key type, by where they are.
#[derive(Debug, Clone)]
pub(crate) struct Found<P> {
    /// In `staging/`.
    pub(crate) staged: Staged<P>,
    /// In `live/`.
    pub(crate) live: Option<Candidate<P>>,
    /// In `domains/`. Counts only where `staged` has no pair, and need not be read before.
    pub(crate) stored: Option<Candidate<P>>,
    /// SHA-256 of the certificate that the server has used since its start and can go on with.
    pub(crate) at_start: Option<String>,
}

/// The pair that a key type gets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Choice<P> {
    /// The pair of the renewal.
    Staged(P),
    /// The pair in `live/`.
    Live(P),
    /// The pair in `domains/`.
    Stored(P),
    /// The pair that the server has used since its start, which nothing need replace.
    AtStart,
    /// No pair, now or later, for this reason.
    Missing(String),
    /// No pair yet, for this reason: the renewal goes on.
    Awaited(String),
    /// No pair: the renewal's cannot be used, for this reason.
    Damaged(String),
}

impl<P> Candidate<P> {
    pub(crate) fn new(pair: P, certificate: &Summary, written: Option<Timestamp>) -> Self {
        Self { pair, sha256: certificate.sha256_fingerprint(), validity: certificate.validity(), written }
    }

    /// Whether both have the same certificate.
    pub(crate) fn is_same<Q>(&self, other: &Candidate<Q>) -> bool {
        self.sha256 == other.sha256
    }

    /// Whether this pair is served rather than `other`. Some CAs have all certificates of a day begin at the same moment: the
    /// time of writing decides then.
    fn goes_before<Q>(&self, other: &Candidate<Q>, now: Timestamp) -> bool {
        let own = (rank(self.validity, now), self.written);
        own > (rank(other.validity, now), other.written) && !self.is_same(other)
    }

    /// Whether `other` brings nothing new where this pair was served, which may have expired since: both have the same
    /// certificate, or the other one was issued before.
    pub(crate) fn outdates<Q>(&self, other: &Candidate<Q>) -> bool {
        self.is_same(other) || self.validity.0 > other.validity.0
    }
}

/// Orders certificates: the greatest is served. One that has not expired goes first, then the one that begins latest.
pub(crate) fn rank((from, until): Validity, now: Timestamp) -> (bool, Timestamp) {
    (now < until, from)
}

/// Chooses the pair for a key type: the renewal's, or without one the pair in `domains/`, except where the pair in `live/` is
/// newer; without any of them, the pair that the server has had since its start.
pub(crate) fn choose<P>(found: Found<P>, now: Timestamp) -> Choice<P> {
    let lack = match found.staged {
        Staged::Brought(staged) => return newer_of(staged, Choice::Staged, found.live, now),
        Staged::Awaited(reason) => return Choice::Awaited(reason),
        Staged::Damaged(reason) => return Choice::Damaged(reason),
        Staged::LeftOut(reason) => reason,
        Staged::NoRenewal => String::new(),
    };
    match (found.stored, found.live, found.at_start) {
        (Some(stored), None, Some(sha256)) if stored.sha256 == sha256 => Choice::AtStart,
        (Some(stored), live, _) => newer_of(stored, Choice::Stored, live, now),
        (None, Some(live), _) => Choice::Live(live.pair),
        (None, None, Some(_)) => Choice::AtStart,
        (None, None, None) => Choice::Missing(lack),
    }
}

/// Chooses the pair in `live/` if it goes before `other`, which is made a choice by `choice`.
fn newer_of<P>(
    other: Candidate<P>,
    choice: fn(P) -> Choice<P>,
    live: Option<Candidate<P>>,
    now: Timestamp,
) -> Choice<P> {
    match live.filter(|live| live.goes_before(&other, now)) {
        Some(live) => Choice::Live(live.pair),
        None => choice(other.pair),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 100;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A certificate with this name that is good for these seconds, written at that second.
    fn pair(name: &'static str, from: i64, until: i64, written: Option<i64>) -> Candidate<&'static str> {
        Candidate { pair: name, sha256: name.to_owned(), validity: (at(from), at(until)), written: written.map(at) }
    }

    fn good(name: &'static str, from: i64) -> Option<Candidate<&'static str>> {
        Some(pair(name, from, 200, None))
    }

    fn written(name: &'static str, second: i64) -> Option<Candidate<&'static str>> {
        Some(pair(name, 50, 200, Some(second)))
    }

    fn expired(name: &'static str, from: i64) -> Option<Candidate<&'static str>> {
        Some(pair(name, from, NOW, None))
    }

    fn brought(pair: Option<Candidate<&'static str>>) -> Staged<&'static str> {
        Staged::Brought(pair.unwrap())
    }

    fn left_out() -> Staged<&'static str> {
        Staged::LeftOut("left out".to_owned())
    }

    #[test]
    fn of_each_key_type_the_newest_pair_is_chosen_and_a_renewal_is_waited_for() {
        use Choice::{AtStart, Awaited, Damaged, Live, Missing, Stored};
        use Staged::NoRenewal;
        let awaited = || Staged::Awaited("to come".to_owned());
        let damaged = || Staged::Damaged("damaged".to_owned());
        // What a renewal has brought, what is live, what is stored, what the server has had since its start; what is chosen
        let rows = [
            // Nothing, or one of them
            (NoRenewal, None, None, None, Missing(String::new())),
            (left_out(), None, None, None, Missing("left out".to_owned())),
            (brought(good("s", 50)), None, None, None, Choice::Staged("s")),
            (left_out(), good("l", 50), None, None, Live("l")),
            (NoRenewal, good("l", 50), None, None, Live("l")),
            (NoRenewal, expired("l", 50), None, None, Live("l")),
            (NoRenewal, None, good("d", 50), None, Stored("d")),
            (NoRenewal, None, expired("d", 50), None, Stored("d")),
            (left_out(), None, good("d", 50), None, Stored("d")),
            // A renewal goes before what is stored, whatever the dates, and before what the server started with
            (brought(good("s", 50)), None, good("d", 60), None, Choice::Staged("s")),
            (brought(good("s", 50)), None, None, Some("x"), Choice::Staged("s")),
            (brought(good("s", 50)), good("l", 40), None, None, Choice::Staged("s")),
            (brought(good("s", 50)), good("l", 50), None, None, Choice::Staged("s")),
            (brought(good("s", 50)), good("l", 60), None, None, Live("l")),
            (brought(good("s", 50)), expired("l", 60), None, None, Choice::Staged("s")),
            (brought(good("same", 50)), good("same", 50), None, None, Choice::Staged("same")),
            // A renewal that is under way, or wrong, decides whatever else there is
            (awaited(), None, None, None, Awaited("to come".to_owned())),
            (awaited(), good("l", 60), good("d", 60), Some("x"), Awaited("to come".to_owned())),
            (damaged(), None, None, None, Damaged("damaged".to_owned())),
            (damaged(), good("l", 60), good("d", 60), Some("x"), Damaged("damaged".to_owned())),
            // Live and stored
            (NoRenewal, good("l", 60), good("d", 50), None, Live("l")),
            (NoRenewal, good("l", 50), good("d", 60), None, Stored("d")),
            (NoRenewal, good("l", 50), good("d", 50), None, Stored("d")),
            (left_out(), good("l", 60), good("d", 50), None, Live("l")),
            (NoRenewal, expired("l", 60), good("d", 50), None, Stored("d")),
            (NoRenewal, good("l", 50), expired("d", 60), None, Live("l")),
            (NoRenewal, expired("l", 60), expired("d", 50), None, Live("l")),
            (NoRenewal, expired("l", 50), expired("d", 60), None, Stored("d")),
            (NoRenewal, good("same", 50), good("same", 50), None, Stored("same")),
            // Issued at the same moment: the one that was written later
            (NoRenewal, written("l", 20), written("d", 10), None, Live("l")),
            (NoRenewal, written("l", 10), written("d", 20), None, Stored("d")),
            (NoRenewal, written("l", 10), written("d", 10), None, Stored("d")),
            (NoRenewal, written("same", 20), written("same", 10), None, Stored("same")),
            // What the server has had since its start is replaced by what was stored since, newer or not, and by what is live
            (NoRenewal, None, None, Some("x"), AtStart),
            (left_out(), None, None, Some("x"), AtStart),
            (NoRenewal, None, good("x", 50), Some("x"), AtStart),
            (NoRenewal, None, good("d", 40), Some("x"), Stored("d")),
            (NoRenewal, good("l", 60), None, Some("x"), Live("l")),
            (NoRenewal, good("l", 40), good("x", 50), Some("x"), Stored("x")),
        ];
        for (number, (staged, live, stored, at_start, expected)) in rows.into_iter().enumerate() {
            let found = Found { staged, live, stored, at_start: at_start.map(str::to_owned) };
            assert_eq!(choose(found.clone(), at(NOW)), expected, "row {number}: {found:?}");
        }
    }

    #[test]
    fn a_pair_outdates_the_same_and_those_that_were_issued_before_also_when_it_has_expired() {
        let served = expired("served", 60).unwrap();
        for (other, expected) in
            [(good("served", 60), true), (good("a", 50), true), (good("a", 60), false), (good("a", 70), false)]
        {
            assert_eq!(served.outdates(&other.clone().unwrap()), expected, "{other:?}");
        }
    }
}
