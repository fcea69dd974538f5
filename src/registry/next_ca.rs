//! Decides by what is staged which of its CAs the renewal of a domain goes to, and not before when.

use std::sync::Arc;

use jiff::Timestamp;

use crate::model::{Authorities, CaSettings, Job, ManagedDomain, Next, is_same_ca};
use crate::schedule;
use crate::sets::{RenewalSettings, StagedState};

/// The part of what is staged for a domain that decides where the next attempt goes.
pub struct NextCa<'a> {
    job: &'a Job,
    /// The records of the CAs.
    pub known: Authorities,
    begun: Option<&'a ManagedDomain>,
}

impl<'a> NextCa<'a> {
    /// Takes it from the documents that are staged.
    #[must_use]
    pub fn of(staged: &'a StagedState) -> Self {
        let StagedState { job, begun, .. } = staged;
        let url = job.ca_url.as_deref().or(begun.as_ref().and_then(ManagedDomain::ca_url));
        let known = match url.filter(|_| job.authorities.is_empty()) {
            Some(url) if job.errors > 0 || job.retry_after.is_some() => {
                Authorities::of_one(url, job.errors, job.retry_after)
            }
            _ => job.authorities.clone(),
        };
        Self { job, known, begun: begun.as_ref() }
    }

    /// The CA that the next attempt for `md` goes to; `None` if none is configured. What is finished stays with the CA
    /// that it came from.
    #[must_use]
    pub fn next(&self, md: &ManagedDomain, failover: u32, now: Timestamp) -> Option<Next> {
        let begun = self.begun.and_then(|begun| begun.ca.url.as_ref());
        match begun.filter(|url| self.job.finished && md.ca.urls.contains(url)) {
            Some(url) => Some(Next { url: url.clone(), failures: 0, retry_after: None }),
            None => self.known.next(&md.ca.urls, failover, now),
        }
    }

    /// The moment before which nobody is to try again. With another configuration, which stands in `settings`, the
    /// attempt need not fail again, but the CA's word counts, and so does the number of validations that failed. A report from the future is one of a wrong clock.
    #[must_use]
    pub fn not_before(&self, md: &ManagedDomain, settings: &str, failover: u32, now: Timestamp) -> Option<Timestamp> {
        if self.job.last_run.is_some_and(|at| at > now) {
            return None;
        }
        let alike = |begun| RenewalSettings::of(begun).is_configured_alike(&RenewalSettings::of(md));
        let is_alike = self.begun.is_some_and(alike);
        if is_alike && self.job.settings.as_deref() == Some(settings) {
            return self.job.next_run;
        }
        let retry_after = self.next(md, failover, now).and_then(|next| next.retry_after);
        retry_after.max(validation_floor(self.job, now))
    }
}

/// The moment before which nothing makes a renewal due: what CAs have seen fail in this hour.
#[must_use]
pub fn validation_floor(job: &Job, now: Timestamp) -> Option<Timestamp> {
    schedule::validation_floor(&job.validation_failures, schedule::MAX_VALIDATION_FAILURES, now)
}

/// The domain with that CA as the one in use.
#[must_use]
pub fn at_ca(md: &Arc<ManagedDomain>, url: &str) -> Arc<ManagedDomain> {
    if md.ca.url.as_deref() == Some(url) {
        return Arc::clone(md);
    }
    let ca = CaSettings { url: Some(url.to_owned()), account: None, ..(*md.ca).clone() };
    Arc::new(ManagedDomain { ca: Arc::new(ca), ..(**md).clone() })
}

/// The CA in use as far as it is known: the one that the certificates came from, also if it is no longer configured.
/// Without certificates it is the first that is configured.
#[must_use]
pub fn in_use(urls: &[String], known: Option<&String>, has_certificates: bool) -> Option<String> {
    let known = known.and_then(|known| {
        let configured = urls.iter().find(|url| is_same_ca(url, known));
        configured.or(Some(known).filter(|_| has_certificates))
    });
    known.or(urls.first()).cloned()
}

/// Whether the CA in use is no longer configured.
#[must_use]
pub fn is_ca_gone(md: &ManagedDomain) -> bool {
    md.ca.url.as_deref().is_some_and(|known| is_gone(md, known))
}

/// Whether a CA is no longer configured.
#[must_use]
pub fn is_gone(md: &ManagedDomain, known: &str) -> bool {
    !md.ca.urls.is_empty() && !md.ca.urls.iter().any(|url| is_same_ca(url, known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DomainName;

    fn urls(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn domain(url: Option<&str>, configured: &[&str]) -> ManagedDomain {
        let mut md = ManagedDomain::new(vec![DomainName::parse("x.test").unwrap()]).unwrap();
        let url = url.map(str::to_owned);
        md.ca = Arc::new(CaSettings { url, urls: urls(configured), ..CaSettings::default() });
        md
    }

    #[test]
    fn the_ca_in_use_is_the_one_that_issued() {
        // Known, configured, with certificates, in use, and whether it is gone then.
        type Row = (Option<&'static str>, &'static [&'static str], bool, Option<&'static str>, bool);
        let rows: [Row; 9] = [
            (None, &[], true, None, false),
            (None, &["a", "b"], true, Some("a"), false),
            (Some("a"), &["a"], true, Some("a"), false),
            // A second one behind it, or a certificate of that one: no change.
            (Some("a"), &["a", "b"], true, Some("a"), false),
            (Some("b"), &["a", "b"], true, Some("b"), false),
            (Some("https://ca/dir/"), &["https://CA/dir"], true, Some("https://CA/dir"), false),
            (Some("a"), &["b"], true, Some("a"), true),
            (Some("a"), &["b", "c"], true, Some("a"), true),
            (Some("a"), &["b"], false, Some("b"), false),
        ];
        for (known, configured, has_certificates, expected, gone) in rows {
            let known = known.map(str::to_owned);
            let found = in_use(&urls(configured), known.as_ref(), has_certificates);
            assert_eq!(found.as_deref(), expected, "{known:?} {configured:?}");
            assert_eq!(is_ca_gone(&domain(found.as_deref(), configured)), gone, "{known:?} {configured:?}");
        }
    }

    #[test]
    fn the_next_ca_follows_from_what_is_staged() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let job = |text: &str| serde_json::from_str::<Job>(text).unwrap();
        let two = r#"{"errors":4,"authorities":[{"url":"a","errors":1,"turns":1},{"url":"b","errors":0,"turns":0}]}"#;
        let rows = [
            // Nothing, a report of the C module, ours
            ("{}", None, "a", 0),
            (r#"{"errors":2}"#, Some("a"), "a", 2),
            (r#"{"errors":2}"#, Some("b"), "a", 0),
            (r#"{"errors":2,"ca-url":"a"}"#, Some("b"), "a", 2),
            (two, Some("a"), "b", 0),
            (r#"{"finished":true}"#, Some("b"), "b", 0),
            (r#"{"finished":true}"#, Some("c"), "a", 0),
        ];
        for (text, staged, url, failures) in rows {
            let begun = staged.map(|url| domain(Some(url), &["a", "b"]));
            let state = StagedState { job: job(text), begun, ..StagedState::default() };
            let next = NextCa::of(&state).next(&domain(None, &["a", "b"]), 3, now).unwrap();
            assert_eq!((next.url.as_str(), next.failures), (url, failures), "{text} {staged:?}");
        }
    }
}
