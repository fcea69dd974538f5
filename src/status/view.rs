//! A domain at the time of a request, as the pages and metrics show it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::words;
use crate::crypto::Summary;
use crate::model::{
    ActivationMode, DomainName, Globals, Job, ManagedDomain, RenewMode, State, Status, TxtRecord, ca_name,
    without_passwords,
};
use crate::registry::{Domain, Place, Registry};
use crate::schedule::Validity;
use crate::sets::{Advice, CertificateSet, StagedView, StagedViews, TlsSet};

/// A domain at the time of a request.
pub struct View<'a> {
    /// Settings of the domain.
    pub md: &'a ManagedDomain,
    /// Entry of the domain in the registry.
    pub domain: &'a Domain,
    /// Certificates that are served.
    pub served: Cow<'a, CertificateSet>,
    /// Certificates among these that went live since the start.
    pub live: Option<Arc<TlsSet>>,
    /// Renewal in progress, with the certificates that are staged.
    pub staged: Option<Arc<StagedView>>,
    /// Renewal windows that the CA suggests.
    pub advice: Arc<Advice>,
    /// Time at which the renewal is due.
    pub renew_at: Timestamp,
    /// Time of the request.
    pub now: Timestamp,
}

/// Health of a domain; the worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// No certificate is served that clients can trust.
    Bad,
    /// A good certificate is served, and its renewal fails or is not possible.
    Failing,
    /// A renewal is due, and `MDRenewMode manual` leaves it to the administrator.
    ByHand,
    /// A new certificate waits for its activation.
    Ready,
    /// A renewal is in progress, or due.
    Busy,
    /// No action is needed.
    Good,
}

/// Returns all domains, sorted by name.
#[must_use]
pub fn all(registry: &Registry) -> Vec<View<'_>> {
    registry.live_sets.refresh();
    let mut domains: Vec<&Domain> = registry.domains.iter().collect();
    domains.sort_by(|a, b| a.md.name.cmp(&b.md.name));
    let candidates = StagedViews::candidates(&registry.documents);
    domains
        .into_iter()
        .map(|domain| View::new(registry, domain, candidates.contains(domain.md.name.as_str())))
        .collect()
}

/// Returns the domain that is called so, or else the one that has this name.
#[must_use]
pub fn of<'a>(registry: &'a Registry, name: &str) -> Option<View<'a>> {
    let name = DomainName::parse(name).ok()?;
    let called = registry.domains.iter().find(|domain| domain.md.name == name);
    let domain = called.or_else(|| registry.domains.get(registry.index.covering(&name)?))?;
    registry.live_sets.refresh();
    Some(View::new(registry, domain, true))
}

impl<'a> View<'a> {
    /// Makes the view of a domain. Staging is read only if the domain is a candidate.
    #[must_use]
    pub fn new(registry: &Registry, domain: &'a Domain, is_candidate: bool) -> Self {
        let now = registry.clock.now();
        let (staged, advice) = if is_candidate { registry.staged_view(&domain.md) } else { Default::default() };
        let renew_at = domain.renew_at(&advice, now);
        let elsewhere = || (renew_at <= now).then(|| registry.report_elsewhere(domain, &advice, now)).flatten();
        let staged = staged.or_else(|| elsewhere().map(Arc::new));
        let live = domain.went_live();
        let served = domain.with_live(live.as_deref());
        Self { md: &domain.md, domain, served, live, staged, advice, renew_at, now }
    }

    /// Returns whether a renewal is due or in progress.
    #[must_use]
    pub fn renews(&self) -> bool {
        self.staged.is_some() && !self.is_staged_live() || self.renew_at <= self.now
    }

    /// Returns whether the staged certificates went live, so that none of them waits, though the next start has to move them.
    #[must_use]
    pub fn is_staged_live(&self) -> bool {
        let is_served = |new| self.served.certificates.iter().flatten().any(|own| own == new);
        let staged = self.staged.as_ref().filter(|staged| staged.job.finished && self.live.is_some());
        staged.is_some_and(|staged| staged.certificates.iter().flatten().all(is_served))
    }

    /// Returns the renewal that is in progress, waits for its activation, or failed.
    #[must_use]
    pub fn renewal(&self) -> Option<&Job> {
        let job = &self.staged.as_ref()?.job;
        (has_failed(job) || !self.is_staged_live()).then_some(job)
    }

    /// Returns the time from which the staged certificates may be used.
    #[must_use]
    pub fn ready_at(&self) -> Option<Timestamp> {
        let staged = self.staged.as_ref().filter(|staged| staged.job.finished)?;
        let begins = staged.certificates.iter().flatten().map(|new| new.validity().0);
        begins.max().max(staged.job.valid_from)
    }

    /// Returns the certificates that a restart would serve, with their names and their places in the store.
    #[must_use]
    pub fn after_restart(&self) -> Vec<(String, Place, Summary)> {
        let specs = self.md.key_specs().0;
        let is_live = |position: usize| {
            let live = self.live.as_ref().zip(specs.get(position));
            live.is_some_and(|(live, spec)| live.pair(spec).is_some())
        };
        let staged = self.staged.as_deref().filter(|_| !self.md.is_static());
        let found = self.served.after_restart(is_live, staged, self.now);
        let named = served_names(self.md).into_iter().zip(found);
        named.filter_map(|(name, found)| found.map(|(place, certificate)| (name, place, certificate))).collect()
    }

    /// Returns `MDActivation`, unless it is `restart`.
    #[must_use]
    pub fn activation(&self) -> Option<&'static str> {
        Some(self.md.activation).filter(|mode| *mode != ActivationMode::Restart).map(ActivationMode::name)
    }

    /// Returns the state of the served certificates.
    #[must_use]
    pub fn state(&self) -> State {
        self.served.state.unwrap_or(self.md.state)
    }

    /// Returns the common validity of the served certificates.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        self.served.common_validity()
    }

    /// Returns the served certificates with their names: key types, or numbers of files.
    pub fn certificates(&self) -> impl Iterator<Item = (String, &Summary)> {
        let names: Vec<String> = served_names(self.md);
        names.into_iter().zip(&self.served.certificates).filter_map(|(name, found)| Some((name, found.as_ref()?)))
    }

    /// Returns the state in words.
    #[must_use]
    pub fn status(&self) -> String {
        match self.state() {
            State::Complete if self.validity().is_some_and(|(_, until)| until <= self.now) => "expired".to_owned(),
            State::Complete => "good".to_owned(),
            State::Incomplete => {
                let why = self.served.state_descr.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                format!("incomplete{why}")
            }
            State::Error => "error".to_owned(),
            State::MissingInformation => "missing information".to_owned(),
            State::Unknown => "unknown".to_owned(),
        }
    }

    /// Returns the state in one word: what clients get, and what becomes of it.
    #[must_use]
    pub fn in_a_word(&self) -> words::State {
        let is_due = self.renew_at <= self.now;
        match self.state() {
            State::Complete if self.domain.is_revoked() => words::State::Revoked,
            State::Complete if self.validity().is_none_or(|(_, until)| until <= self.now) => words::State::Expired,
            State::Complete => match self.renewal() {
                _ if self.is_failing() => words::State::Failing,
                Some(job) if job.finished && self.domain.slot.is_none() => words::State::Waiting,
                _ if self.unsuitable().is_some() => words::State::Failing,
                Some(_) => words::State::Renewing,
                None if is_due && self.is_manual() => words::State::ByHand,
                None if is_due && self.domain.renewable() => words::State::Due,
                None => words::State::Good,
            },
            State::Incomplete if self.certificates().next().is_none() => words::State::NoCertificate,
            State::Incomplete => words::State::Incomplete,
            State::Error | State::MissingInformation | State::Unknown => words::State::Unusable,
        }
    }

    /// Returns the health of the domain.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.in_a_word() {
            words::State::Revoked | words::State::Expired | words::State::Unusable => Health::Bad,
            words::State::NoCertificate | words::State::Incomplete => Health::Bad,
            words::State::Failing => Health::Failing,
            words::State::ByHand => Health::ByHand,
            words::State::Waiting => Health::Ready,
            words::State::Due | words::State::Renewing => Health::Busy,
            words::State::Good => Health::Good,
        }
    }

    /// Returns whether the last attempt to renew failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        let last = self.renewal().and_then(|job| job.last.as_ref());
        last.is_some_and(|last| last.status != Status::OK)
    }

    /// Returns the reason why the domain cannot be renewed, if there is one.
    #[must_use]
    pub fn unsuitable(&self) -> Option<&str> {
        self.domain.challenges.as_ref().as_ref().err().filter(|_| self.domain.renewable()).map(String::as_str)
    }

    /// Returns the records that the administrator must keep in the DNS, as far as they are known.
    #[must_use]
    pub fn txt_records(&self) -> &[TxtRecord] {
        if !self.domain.needs_standing_record() {
            return &[];
        }
        let staged = self.staged.as_ref().map(|staged| &staged.job.txt_records);
        staged.filter(|records| !records.is_empty()).unwrap_or(&self.domain.last_renewal.txt_records)
    }

    /// Returns the CAs as name and URL, if a page can link to it: the one in use, else all that are configured. For certificates in files these are
    /// their issuers, without URLs.
    #[must_use]
    pub fn authorities(&self) -> Vec<(String, Option<Cow<'_, str>>)> {
        if self.md.is_static() {
            return self.issuers().into_iter().map(|name| (name.to_owned(), None)).collect();
        }
        let ca = &self.md.ca;
        let live = self.live.as_ref().and_then(|live| live.ca_url.as_ref());
        let stored = live.or(ca.url.as_ref()).filter(|_| self.state() == State::Complete).map(std::slice::from_ref);
        stored.unwrap_or(&ca.urls).iter().map(|url| (ca_name(url), link(url))).collect()
    }

    /// Returns the issuers of the served certificates, each once.
    #[must_use]
    pub fn issuers(&self) -> BTreeSet<&str> {
        self.served.certificates.iter().flatten().map(Summary::issuer_name).collect()
    }

    /// Returns whether the domain has `MDRenewMode manual`.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        self.md.renew_mode == RenewMode::Manual
    }

    /// Counts the new certificates that wait for their activation.
    #[must_use]
    pub fn staged_count(&self) -> usize {
        let staged = self.staged.as_ref().filter(|_| !self.is_staged_live());
        staged.map_or(0, |staged| staged.certificates.iter().flatten().count())
    }

    /// Returns the time at which certificates went live.
    #[must_use]
    pub fn live_since(&self) -> Option<Timestamp> {
        self.live.as_ref()?.since
    }

    /// Returns the time of the last success: new certificates were staged, activated, or went live.
    #[must_use]
    pub fn last_success(&self) -> Option<Timestamp> {
        let finished = self.staged.as_ref().filter(|staged| staged.job.finished);
        finished.and_then(|staged| staged.job.newest("finished")).max(self.domain.activated).max(self.live_since())
    }

    /// Returns the last step of the attempt to renew that is in progress.
    #[must_use]
    pub fn last_step(&self) -> Option<&str> {
        let job = self.renewal().filter(|job| !job.finished && self.next_run().is_none())?;
        job.last.as_ref()?.activity.as_deref()
    }

    /// Returns the time of the next attempt, if it is in the future.
    #[must_use]
    pub fn next_run(&self) -> Option<Timestamp> {
        self.staged.as_ref()?.job.next_run.filter(|at| *at > self.now)
    }
}

/// Returns whether the last attempt of a renewal failed.
#[must_use]
pub fn has_failed(job: &Job) -> bool {
    job.errors > 0 || job.last.as_ref().is_some_and(|last| last.status != Status::OK)
}

/// Returns the names of the served certificates: key types, or numbers for certificates in files.
pub fn served_names(md: &ManagedDomain) -> Vec<String> {
    if md.is_static() { (0..md.cert_files.len()).map(|number| number.to_string()).collect() } else { key_names(md) }
}

/// Returns the names of the key types of a domain.
pub fn key_names(md: &ManagedDomain) -> Vec<String> {
    md.key_specs().0.iter().map(|spec| spec.json_name().to_owned()).collect()
}

/// Returns the URL at which a site shows the certificate (`MDCertificateCheck`).
#[must_use]
pub fn check_url(globals: &Globals, certificate: &Summary) -> String {
    format!("{}{}", globals.certificate_check.1, certificate.sha256_fingerprint())
}

/// Returns the whole seconds from one time to another.
#[must_use]
pub fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}

/// Formats a time for people: the date if it is days away, else the rough distance from now.
#[must_use]
pub fn roughly(at: Timestamp, now: Timestamp) -> String {
    let distance = at.duration_since(now);
    if distance.unsigned_abs() >= SignedDuration::from_hours(4 * 24).unsigned_abs() {
        return date(at);
    }
    let seconds = distance.as_secs().unsigned_abs();
    let units = [(24 * 3600, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let (size, unit) = units.into_iter().find(|(size, _)| seconds >= *size).unwrap_or((1, "second"));
    let count = seconds / size;
    let text = format!("~{count} {unit}{}", if count == 1 { "" } else { "s" });
    if distance.is_negative() { format!("{text} ago") } else { format!("in {text}") }
}

/// Formats the date, in GMT.
#[must_use]
pub fn date(at: Timestamp) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}

/// Returns a URL to link to, without a password; `None` for one that a browser would run or open in another program.
fn link(url: &str) -> Option<Cow<'_, str>> {
    let is_place = |url: url::Url| matches!(url.scheme(), "http" | "https" | "file");
    url::Url::parse(url).is_ok_and(is_place).then(|| without_passwords(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_links_to_places_only() {
        let rows = [
            ("https://user:secret@ca.test/dir", Some("https://***@ca.test/dir")),
            ("http://ca.test/", Some("http://ca.test/")),
            ("file://localhost/run/tailscaled.sock", Some("file://localhost/run/tailscaled.sock")),
            ("javascript:alert(1)", None),
            ("data:text/html,x", None),
            ("x", None),
        ];
        for (url, expected) in rows {
            assert_eq!(link(url).as_deref(), expected, "{url}");
        }
    }
    use crate::model::DomainName;
    use crate::store::{Aspect, Group};
    use crate::testing::ca::{FakeCa, Fault, Operation, problem};
    use crate::testing::{TestServer, p256};

    #[test]
    fn times_are_rough_within_four_days_and_dates_beyond() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        for (seconds, expected) in [
            (0, "in ~0 seconds"),
            (1, "in ~1 second"),
            (59, "in ~59 seconds"),
            (-60, "~1 minute ago"),
            (7200, "in ~2 hours"),
            (-86_400, "~1 day ago"),
            (4 * 86_400 - 1, "in ~3 days"),
            (4 * 86_400, "2026-11-27"),
            (-4 * 86_400, "2026-11-19"),
        ] {
            assert_eq!(roughly(now + SignedDuration::from_secs(seconds), now), expected);
        }
        assert_eq!((date(now), seconds(now, now + SignedDuration::from_millis(1999))), ("2026-11-23".to_owned(), 1));
    }

    fn look(test_server: &TestServer, check: impl FnOnce(&View<'_>)) {
        let registry = test_server.start(true);
        check(&all(&registry)[0]);
    }

    #[test]
    fn the_state_is_told_in_words() {
        let mut test_server = TestServer::new(&["w.test"]);
        drop(test_server.start(false));
        look(&test_server, |view| {
            assert_eq!(view.status(), "incomplete: certificate(P-256) is missing");
            assert_eq!((view.validity(), view.certificates().count()), (None, 0));
        });
        drop(test_server.run(true));
        look(&test_server, |view| assert_eq!(view.status(), "good"));
        test_server.clock.advance(SignedDuration::from_hours(24 * 91));
        look(&test_server, |view| assert_eq!((view.status(), view.health()), ("expired".to_owned(), Health::Bad)));
        test_server.declared[0].names.push(DomainName::parse("more.w.test").unwrap());
        let lacks = "incomplete: certificate(P-256) does not cover all domains.";
        look(&test_server, |view| assert_eq!(view.status(), lacks));
        test_server.put(Group::Domains, "w.test", &Aspect::Chain(p256()), &"x".repeat(2000));
        look(&test_server, |view| assert_eq!((view.status(), view.health()), ("error".to_owned(), Health::Bad)));
    }

    #[test]
    fn the_ca_is_the_one_in_use_or_all_that_are_configured() {
        let mut test_server = TestServer::new(&["ca.test"]);
        let other = "https://other.test/dir";
        test_server.declared[0].settings.ca_urls = Some(vec![FakeCa::DIRECTORY.to_owned(), other.to_owned()]);
        drop(test_server.start(false));
        look(&test_server, |view| {
            let urls: Vec<_> =
                view.authorities().into_iter().map(|(name, url)| (name, url.map(Cow::into_owned))).collect();
            let expected = [("ca.test", FakeCa::DIRECTORY), ("other.test", other)];
            assert_eq!(urls, expected.map(|(name, url)| (name.to_owned(), Some(url.to_owned()))));
            assert!(view.issuers().is_empty());
        });
        drop(test_server.run(true));
        look(&test_server, |view| {
            assert_eq!(view.authorities(), [("ca.test".to_owned(), Some(FakeCa::DIRECTORY.into()))]);
            assert_eq!(Vec::from_iter(view.issuers()), ["/CN=Fake CA"]);
        });
    }

    #[test]
    fn a_renewal_is_followed_from_its_failure_to_its_activation() {
        let test_server = TestServer::new(&["r.test"]);
        test_server.ca.fail(Operation::NewOrder, Fault::Answer(problem(500, "serverInternal", "no")));
        let renewals = test_server.run(false);
        let registry = test_server.start(true);
        let failed = || all(&registry);
        let failed = &failed()[0];
        assert!(failed.renews() && failed.renewal().is_some_and(has_failed));
        assert!(failed.next_run() > Some(failed.now) && failed.last_success().is_none());
        test_server.clock.advance(SignedDuration::from_hours(1));
        test_server.go_on(&renewals);
        let staged = &all(&registry)[0];
        assert_eq!((staged.staged_count(), staged.health(), staged.next_run()), (1, Health::Bad, None));
        assert!(staged.ready_at() <= Some(staged.now) && staged.last_success().is_some());
        look(&test_server, |active| {
            assert_eq!((active.staged_count(), active.health(), active.renews()), (0, Health::Good, false));
            assert!(active.last_success().is_some() && active.live_since().is_none());
        });
    }

    #[test]
    fn certificates_in_files_go_by_numbers() {
        let mut md = ManagedDomain::new(vec![DomainName::parse("f.test").unwrap()]).unwrap();
        assert_eq!((served_names(&md), key_names(&md)), (vec!["rsa".to_owned()], vec!["rsa".to_owned()]));
        md.cert_files = ["/a.pem", "/b.pem"].map(|path| path.to_owned()).to_vec();
        md.pkey_files = md.cert_files.clone();
        assert_eq!(served_names(&md), ["0", "1"]);
    }
}
