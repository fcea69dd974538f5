//! Sets that another server, or `a2md`, has put into `domains/` since the start of this one: nothing is ordered for them.

use jiff::Timestamp;

use crate::crypto::Summary;
use crate::model::{Job, JobResult, State, time};
use crate::registry::domain::Domain;
use crate::registry::{Registry, next_ca};
use crate::sets::{Active, Advice, CertificateSet, StagedView, active};
use crate::store::{Aspect, Group};

impl Registry {
    /// The set that somebody else has put into `domains/` since the start of this server, if it leaves nothing to renew.
    #[must_use]
    pub fn renewed_elsewhere(&self, domain: &Domain, advice: &Advice, now: Timestamp) -> Option<CertificateSet> {
        let written = active::told(&self.documents, &domain.md)?;
        // What was told before the start was in domains/ when the start read that.
        if domain.told == Some(written) {
            return None;
        }
        let active: Active = self.documents.load_json(Group::Active, domain.md.name.as_str(), &Aspect::ActiveJson)?;
        if active.ca_url.as_deref().is_none_or(|url| next_ca::is_gone(&domain.md, url)) {
            return None;
        }
        let set = CertificateSet::told(&self.documents, &domain.md, &active);
        let is_revoked = |own: &Summary| self.stapling.is_revoked(domain.md.name.as_str(), own);
        let does = set.state == Some(State::Complete) && !set.certificates.iter().flatten().any(is_revoked);
        let does = does && set.renew_at(domain.md.configured_renew_window(), advice, now) > now;
        does.then_some(set)
    }

    /// Whether the server restarts itself for a set that somebody else has put into `domains/`. For the parent.
    #[must_use]
    pub fn restarts_for_others(&self) -> bool {
        let now = self.clock.now();
        let is_renewed = |domain: &Domain| {
            let advice = Advice::load(&self.documents, &domain.md);
            domain.renew_at(&advice, now) <= now && self.renewed_elsewhere(domain, &advice, now).is_some()
        };
        self.domains.iter().any(|domain| domain.restarts() && is_renewed(domain))
    }

    /// The report on a renewal that somebody else has made of a domain whose renewal is due here.
    #[must_use]
    pub fn report_elsewhere(&self, domain: &Domain, advice: &Advice, now: Timestamp) -> Option<StagedView> {
        let set = self.renewed_elsewhere(domain, advice, now)?;
        let valid_from = set.certificates.iter().flatten().map(|own| own.validity().0).max();
        let since = valid_from.map(time::format_gmt).unwrap_or_default();
        let detail = format!(
            "The certificate for the managed domain has been renewed by another server, or by a2md, and can be used (valid since \
             {since}). A graceful server restart now is all that is needed."
        );
        let last = JobResult { detail: Some(detail), valid_from, ..JobResult::default() };
        let job = Job { finished: true, last: Some(last), valid_from, ..Job::new(domain.md.name.as_str()) };
        let scts = set.certificates.iter().map(|_| Vec::new()).collect();
        Some(StagedView { job, certificates: set.certificates, scts })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::clock::Clock as _;
    use crate::model::{ActivationMode, DomainName};
    use crate::renewals::Renewals;
    use crate::store::Store;
    use crate::testing::{TestServer, logged, watch_log};

    /// A server that has started, and does not look before it is told to.
    fn server(test_server: &TestServer) -> Renewals {
        test_server.renewals_with(true, test_server.moving_clock(), |_| None)
    }

    /// Another server renews the domain and activates that.
    fn renew(test_server: &TestServer) {
        drop(test_server.run(true));
        drop(test_server.start(true));
    }

    fn look(test_server: &TestServer, renewals: &Renewals, times: usize) -> usize {
        for _ in 0..times {
            test_server.go_on(renewals);
            test_server.clock.advance(SignedDuration::from_hours(13));
        }
        test_server.ca.ordered().len()
    }

    #[test]
    fn what_another_server_has_renewed_and_uses_is_ordered_when_that_is_due() {
        watch_log();
        let name = "other.active.test";
        for mode in [ActivationMode::Restart, ActivationMode::Live] {
            let mut test_server = TestServer::new(&[name]);
            test_server.declared[0].settings.activation = Some(mode);
            let known = server(&test_server);
            let told = logged("MD0058", name);
            renew(&test_server);
            assert_eq!((look(&test_server, &known, 3), logged("MD0058", name)), (1, told + 1), "{mode:?}");
            assert!(test_server.store.list(Group::Staging).unwrap().is_empty());
            test_server.clock.advance(SignedDuration::from_hours(24 * 70));
            assert_eq!(look(&test_server, &known, 1), 2, "{mode:?}");
        }
    }

    #[test]
    fn it_is_shown_as_what_a_restart_is_for() {
        let mut test_server = TestServer::new(&["shown.active.test"]);
        test_server.declared[0].settings.activation = Some(ActivationMode::Graceful);
        let registry = test_server.start(true);
        let domain = &registry.domains[0];
        let now = test_server.clock.now();
        let report = || registry.report_elsewhere(domain, &Advice::default(), now);
        assert!(report().is_none() && !registry.restarts_for_others());
        renew(&test_server);
        let view = report().unwrap();
        assert!(view.job.finished && view.job.last.unwrap().detail.unwrap().contains("all that is needed"));
        assert_eq!(view.certificates.len(), 1);
        assert!(registry.restarts_for_others());
        let after = test_server.start(true);
        assert_eq!(after.domains[0].at_start.certificates, view.certificates);
        assert!(!after.restarts_for_others());
    }

    #[test]
    fn a_set_that_does_not_do_or_is_gone_again_is_no_reason_not_to_renew() {
        let damages: [fn(&str) -> String; 2] =
            [|text| text.replace("https://", "https://former."), |_| "{}".to_owned()];
        for damage in damages {
            let test_server = TestServer::new(&["x.test"]);
            let known = server(&test_server);
            renew(&test_server);
            let text = test_server.text(Group::Active, "x.test", &Aspect::ActiveJson).unwrap();
            test_server.put(Group::Active, "x.test", &Aspect::ActiveJson, &damage(&text));
            assert_eq!(look(&test_server, &known, 1), 2, "{text}");
        }
        // The server that looks wants one more name.
        let mut test_server = TestServer::new(&["x.test"]);
        let before = test_server.declared.clone();
        test_server.declared[0].names.push(DomainName::parse("www.x.test").unwrap());
        let known = server(&test_server);
        test_server.declared = before;
        renew(&test_server);
        assert_eq!(look(&test_server, &known, 1), 2);
        // The administrator has put an older set back before the start.
        let test_server = TestServer::new(&["x.test"]);
        renew(&test_server);
        test_server.store.purge(Group::Domains, "x.test").unwrap();
        assert_eq!(look(&test_server, &server(&test_server), 1), 2);
    }
}
