//! Tells which certificates a domain would serve after a restart of the server, judged by their validity.

use jiff::Timestamp;

use crate::crypto::Summary;
use crate::model::State;
use crate::schedule::is_early;
use crate::sets::{CertificateSet, StagedView};

/// Directory of the store with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `domains/`: the set that a start has found or activated.
    Domains,
    /// `live/`: the set that went live since the start.
    Live,
    /// `staging/`: the set that was obtained last.
    Staging,
}

impl Place {
    /// Returns the name of the directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Domains => "domains",
            Self::Live => "live",
            Self::Staging => "staging",
        }
    }
}

impl CertificateSet {
    /// Returns the certificates that would be served after a restart in place of this set, one entry per key type, each with its
    /// place in the store. `is_live` says whether the certificate at a position went live since the start.
    #[must_use]
    pub fn after_restart(
        &self,
        is_live: impl Fn(usize) -> bool,
        staged: Option<&StagedView>,
        now: Timestamp,
    ) -> Vec<Option<(Place, Summary)>> {
        let staged = staged.filter(|staged| self.gives_way_to(staged, now)).map_or(&[][..], |new| &new.certificates);
        let at = |position: usize| {
            let current = self.certificates.get(position).and_then(Option::as_ref);
            let new = staged.get(position).and_then(Option::as_ref).filter(|new| Some(*new) != current);
            let place = if is_live(position) { Place::Live } else { Place::Domains };
            new.map(|new| (Place::Staging, new)).or_else(|| Some((place, current?)))
        };
        let found = (0..self.certificates.len().max(staged.len())).map(at);
        found.map(|found| found.map(|(place, certificate)| (place, certificate.clone()))).collect()
    }

    /// Checks whether a start would activate the staged set: not while the staged set is not valid yet and this one is.
    fn gives_way_to(&self, staged: &StagedView, now: Timestamp) -> bool {
        let validities = || staged.certificates.iter().flatten().map(Summary::validity);
        let (Some(from), Some(until)) =
            (validities().map(|(from, _)| from).max(), validities().map(|(_, to)| to).min())
        else {
            return false;
        };
        let current = self.common_validity().filter(|_| self.state == Some(State::Complete));
        staged.job.finished && now < until && !is_early(from, current.into_iter(), now)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::crypto::{PrivateKey, self_signed};
    use crate::model::{DomainName, Job};
    use crate::testing::p256;

    const NOW: i64 = 1_700_000_000;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(NOW).unwrap() + SignedDuration::from_hours(hours)
    }

    /// Returns a certificate of 14 days.
    fn certificate(from: i64) -> Summary {
        let key = PrivateKey::generate(&p256()).unwrap();
        self_signed(&key, "x", &[DomainName::parse("x.test").unwrap()], at(from), 14).unwrap().summary()
    }

    fn set(certificates: Vec<Option<Summary>>, state: State) -> CertificateSet {
        let mut set = CertificateSet::default();
        (set.certificates, set.state) = (certificates, Some(state));
        set
    }

    fn view(finished: bool, certificates: Vec<Option<Summary>>) -> StagedView {
        StagedView { job: Job { finished, ..Job::default() }, certificates, scts: Vec::new() }
    }

    #[test]
    fn a_restart_serves_the_staged_set_if_it_is_valid_and_else_the_current_one() {
        use Place::{Domains, Live, Staging};
        let [first, second, new] = [certificate(-48), certificate(-48), certificate(-1)];
        let current = vec![Some(first), Some(second)];
        let served = set(current.clone(), State::Complete);
        let none = set(vec![None, None], State::Incomplete);
        let staged = |finished| view(finished, vec![None, Some(new.clone())]);
        let early = view(true, vec![Some(certificate(7 * 24)), None]);
        let rows = [
            ("nothing is staged", &served, None, [Some(Live), Some(Domains)]),
            ("one of two", &served, Some(staged(true)), [Some(Live), Some(Staging)]),
            ("a renewal under way", &served, Some(staged(false)), [Some(Live), Some(Domains)]),
            ("what is served already", &served, Some(view(true, current.clone())), [Some(Live), Some(Domains)]),
            ("not valid yet", &served, Some(early.clone()), [Some(Live), Some(Domains)]),
            ("not valid yet, but nothing else is there", &none, Some(early), [Some(Staging), None]),
            ("expired", &served, Some(view(true, vec![Some(certificate(-24 * 30))])), [Some(Live), Some(Domains)]),
            ("a report without certificates", &served, Some(view(true, vec![None])), [Some(Live), Some(Domains)]),
            ("nothing at all", &none, None, [None, None]),
        ];
        for (what, served, staged, expected) in rows {
            let found = served.after_restart(|position| position == 0, staged.as_ref(), at(0));
            let places: Vec<_> = found.iter().map(|found| found.as_ref().map(|(place, _)| *place)).collect();
            assert_eq!(places, expected, "{what}");
            for (position, found) in found.iter().enumerate() {
                let Some((place, certificate)) = found else { continue };
                let staged = staged.iter().flat_map(|staged| &staged.certificates).nth(position);
                let source = if *place == Staging { staged } else { served.certificates.get(position) };
                assert_eq!(source.and_then(Option::as_ref), Some(certificate), "{what}");
            }
        }
    }
}
