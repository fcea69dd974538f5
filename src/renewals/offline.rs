//! The domains as their store has them, for a program that works beside the server or without one: what is due, and one
//! renewal at a time, activated at once.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::begin::{Begun, Reason};
use super::renewal::{Ended, Renewal};
use crate::accounts::Accounts;
use crate::acme::{AccountScope, PortError};
use crate::ari::Advisor;
use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::crypto::random_fraction;
use crate::documents::{CLAIM_PATIENCE, Documents, claimed_elsewhere, port_error};
use crate::http::HttpClient;
use crate::live::{LiveSlot, NotNow, Published};
use crate::log::report;
use crate::model::{CaSettings, DomainName, Globals, Job, ManagedDomain, Next, State};
use crate::registry::start::challenge_types;
use crate::registry::{Domain, NextCa, Registry, change, next_ca};
use crate::schedule;
use crate::sets::{Activation, Advice, CertificateSet, StagedState, activation, active, order, served};
use crate::stapling::{Collector, Stapling};
use crate::store::{Aspect, Group, Reachability, ServerFacts, StoreError, read_foreign};

/// The domain that the store has under `name`, with the state that its certificates have now; `None` if there is none
/// that can be read.
#[must_use]
pub fn stored_domain(documents: &Documents, name: &str) -> Option<(ManagedDomain, CertificateSet)> {
    let mut md: ManagedDomain = documents.load_json(Group::Domains, name, &Aspect::MdJson)?;
    md.name = DomainName::parse(name).ok()?;
    let live = CertificateSet::load(documents, &md);
    md.state = live.state.unwrap_or(State::Unknown);
    md.state_descr.clone_from(&live.state_descr);
    Some((md, live))
}

/// Returns what the next start would do with what is staged for `md`.
#[must_use]
pub fn activation_verdict(documents: &Documents, md: &ManagedDomain, now: Timestamp) -> Activation {
    activation::verdict(documents, md, now)
}

/// Forgets what a renewal of `md` has left in staging, except what its commands have set up. An account that waits there
/// gets to its place before. What is live is served, and stays.
///
/// # Errors
/// If the store cannot be written, or another process works on the domain.
pub fn reset(documents: &Arc<Documents>, md: &ManagedDomain) -> Result<(), PortError> {
    let name = md.name.as_str();
    let claim = documents.store().claim_within(name, CLAIM_PATIENCE).map_err(port_error)?;
    let _claim = claim.ok_or_else(|| claimed_elsewhere(md))?;
    Accounts::read(documents)?.adopt_from(documents, name);
    order::tear_down(documents, name)?;
    let left = order::load(documents, md);
    documents.store().clear(Group::Staging, name).map_err(port_error)?;
    order::save(documents, name, &left)
}

impl Registry {
    /// All domains of a store. `only` is a type of challenge to use instead of those that are configured.
    ///
    /// # Errors
    /// If they cannot be listed; those that cannot be read are left out.
    pub fn stored(
        documents: Arc<Documents>,
        clock: Arc<dyn Clock>,
        facts: &ServerFacts,
        only: Option<&str>,
    ) -> Result<Self, StoreError> {
        let names = documents.store().list(Group::Domains)?;
        Ok(Self::stored_of(&names, documents, clock, facts, only))
    }

    /// The domains of a store that have these names, as far as there are such and they can be read. `only` is a type of challenge to
    /// use instead of those that are configured.
    #[must_use]
    pub fn stored_of(
        names: &[String],
        documents: Arc<Documents>,
        clock: Arc<dyn Clock>,
        facts: &ServerFacts,
        only: Option<&str>,
    ) -> Self {
        let found: Vec<_> = names.iter().filter_map(|name| stored_domain(&documents, name)).collect();
        let stapling = stapling(&documents, &clock, found.iter().map(|(md, _)| md));
        let has_dns01 = facts.server.cmd_dns_01.is_some();
        let domain = |(md, live)| entry(&documents, md, live, (facts.reach, has_dns01), only, &stapling);
        let domains: Vec<Domain> = found.into_iter().map(domain).collect();
        // Each run is the first attempt: it is the server that takes turns.
        let usual = Globals::default();
        let globals = Globals {
            retry_failover: u32::MAX,
            dns01_command: facts.server.cmd_dns_01.clone(),
            dns01_version: facts.server.cmd_dns_01_version.unwrap_or(usual.dns01_version),
            ..usual
        };
        Self::new(documents, clock, globals, domains, stapling)
    }

    /// When the domain at `position` is to be renewed, by the server or by somebody else (`MDRenewMode manual`), at the latest
    /// `now` if it lacks a certificate; `None` if nothing is obtained for it, as the administrator's files are served.
    #[must_use]
    pub fn due_at(&self, position: usize, now: Timestamp) -> Option<Timestamp> {
        let domain = &self.domains[position];
        let is_obtained = !domain.md.is_static() || domain.standby.is_some();
        is_obtained.then(|| domain.renew_at(&Advice::load(&self.documents, &domain.md), now))
    }

    /// Asks the CA when to renew the domain at `position`, unless it has answered in this minute, or the domain is due anyway.
    pub fn ask_ca(&self, position: usize, advisor: &Advisor, http: &Arc<dyn HttpClient>) {
        let domain = &self.domains[position];
        let now = self.clock.now();
        let advice = Advice::load(&self.documents, &domain.md);
        if domain.asks_ca() && domain.renew_at(&advice, now) > now && advice.due(Some(now), now) <= now {
            advisor.ask(self, domain, http, random_fraction);
        }
    }

    /// The report on the renewal of a domain.
    #[must_use]
    pub fn job(&self, position: usize) -> Option<Job> {
        self.documents.load_json(Group::Staging, self.domains[position].md.name.as_str(), &Aspect::JobJson)
    }

    /// The CA that is to be asked for the domain at `position`, and when it wants to be asked, if that is to come.
    #[must_use]
    pub fn next_ca(&self, position: usize, now: Timestamp) -> Option<Next> {
        let md = &self.domains[position].md;
        let staged = StagedState::read(&self.documents, md);
        NextCa::of(&staged).next(md, self.globals.retry_failover, now)
    }

    /// Begins to renew the domain at `position` if it is due, or with `force` in any case, or goes on with what is staged. The rest
    /// is [`Renewal::step`] and [`Registry::close`].
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn begin(
        self: &Arc<Self>,
        position: usize,
        force: bool,
        http: Arc<dyn HttpClient>,
    ) -> Result<Begun, PortError> {
        let reason = if force { Reason::Forced } else { Reason::Due };
        Renewal::begin(self, position, http, reason, &Cancel::default())
    }

    /// Writes the report of a renewal, with the time of the next attempt if it failed, and gives the domain free.
    pub fn close(&self, mut renewal: Box<Renewal>, ended: Ended) {
        let delay = |failures, permanent| schedule::back_off(failures, permanent, self.globals.retry_delay, 0.5);
        renewal.end(ended, delay);
    }

    /// Activates what is staged for the domain at `position`, as a start of the server does. A server that runs serves it at
    /// once, if sets of the domain go live.
    ///
    /// # Errors
    /// If accounts cannot be read, or another process works on the domain.
    pub fn activate(&self, position: usize) -> Result<Activation, PortError> {
        let Domain { md, at_start: live, .. } = &self.domains[position];
        let _change = change(&self.documents);
        let claim = self.documents.store().claim_within(md.name.as_str(), CLAIM_PATIENCE).map_err(port_error)?;
        let _claim = claim.ok_or_else(|| claimed_elsewhere(md))?;
        let mut accounts = Accounts::read(&self.documents)?;
        accounts.adopt_from(&self.documents, md.name.as_str());
        for ca_url in md.ca.urls.iter().cloned() {
            accounts.adopt_for(&self.documents, &AccountScope { ca_url, eab: md.eab.as_deref().cloned() });
        }
        let now = self.clock.now();
        let activation = activation::activate(&self.documents, md, &accounts, now);
        if activation == Activation::Activated {
            activation::leave_untold(&self.documents, md.name.as_str(), now);
            match self.live_sets.publish_copied(position, live, now) {
                Ok(Published::NotNow(NotNow::Incomplete(reason) | NotNow::Unusable(reason))) => {
                    report!(MD0041, "{}: a running server does not serve it before its next start: {reason}", md.name);
                }
                Ok(_) => {}
                Err(err) => {
                    report!(MD0041, err.status; "{}: a running server does not serve it before its next start: {err}", md.name);
                }
            }
        }
        Ok(activation)
    }
}

/// The domain as a renewal wants it: with the CA that is in use.
fn entry(
    documents: &Documents,
    mut md: ManagedDomain,
    live: CertificateSet,
    (reach, has_dns01): (Reachability, bool),
    only: Option<&str>,
    stapling: &Arc<Stapling>,
) -> Domain {
    let issued_by = Arc::clone(&md.ca);
    let urls = if md.ca.urls.is_empty() { md.ca.url.iter().cloned().collect() } else { md.ca.urls.clone() };
    let url = next_ca::in_use(&urls, md.ca.url.as_ref(), live.certificates.iter().any(Option::is_some));
    md.ca = Arc::new(CaSettings { url, urls, ..(*md.ca).clone() });
    let challenges = match only {
        Some(kind) => {
            let ca = CaSettings { challenges: vec![kind.to_owned()], ..(*md.ca).clone() };
            challenge_types::challenges(&ManagedDomain { ca: Arc::new(ca), ..md.clone() }, &reach.into(), has_dns01)
        }
        None => challenge_types::challenges(&md, &reach.into(), has_dns01),
    };
    let standby = CertificateSet::standby(documents, &md);
    let last_renewal = served::last_renewal(documents, &md, &challenges);
    let told = active::told(documents, &md);
    let ordered = served::ordered(documents, &md, &live.certificates);
    let md = Arc::new(md);
    Domain {
        slot: LiveSlot::new(&md, &live),
        md,
        at_start: live,
        standby,
        watched: true,
        issued_by,
        activated: None,
        ordered,
        told,
        challenges: Arc::new(challenges),
        last_renewal,
        stapling: Arc::clone(stapling),
    }
}

/// Collects what the server has found about the revocation of certificates that it staples.
fn stapling<'a>(
    documents: &Arc<Documents>,
    clock: &Arc<dyn Clock>,
    domains: impl Iterator<Item = &'a ManagedDomain>,
) -> Arc<Stapling> {
    let mut collector = Collector::default();
    for md in domains.filter(|md| md.stapling) {
        let stored =
            |spec| documents.store().load(Group::Domains, md.name.as_str(), &Aspect::Chain(spec)).ok().flatten();
        let chains: Vec<Vec<u8>> = if md.is_static() {
            md.cert_files.iter().filter_map(|path| read_foreign(Path::new(path)).ok().flatten()).collect()
        } else {
            md.key_specs().0.into_iter().filter_map(stored).collect()
        };
        for pem in chains {
            collector.prime(Some(md), &pem);
        }
    }
    Arc::new(collector.finish(documents, clock, &Globals::default(), true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Summary;
    use crate::issuance::Outcome;
    use crate::model::RenewMode;
    use crate::store::Store;
    use crate::testing::{ACCOUNT, TestServer};

    fn registry(server: &TestServer, only: Option<&str>) -> Arc<Registry> {
        let documents = Arc::clone(&server.documents);
        let clock = server.moving_clock();
        Arc::new(Registry::stored(documents, clock, &ServerFacts::default(), only).unwrap())
    }

    fn renew(server: &TestServer, registry: &Arc<Registry>) -> Result<(), crate::acme::AcmeError> {
        let Begun::Started(mut renewal) = registry.begin(0, false, Arc::clone(&server.ca) as _).unwrap() else {
            panic!("nothing to renew")
        };
        let result = loop {
            match renewal.step() {
                Ok(Outcome::Done) => break Ok(()),
                Ok(_) => {}
                Err(err) => break Err(err),
            }
        };
        registry.close(renewal, if result.is_ok() { Ended::Done } else { Ended::Cancelled });
        result
    }

    #[test]
    fn a_stored_domain_is_renewed_and_activated_at_once() {
        let server = TestServer::new(&["a.offline.test"]);
        drop(server.start(false));
        let begun = registry(&server, None);
        assert!(begun.due_at(0, begun.clock.now()).is_some_and(|at| at <= begun.clock.now()));
        renew(&server, &begun).unwrap();
        assert_eq!(begun.activate(0).unwrap(), Activation::Activated);
        assert_eq!(begun.activate(0).unwrap(), Activation::Nothing);
        let after = registry(&server, None);
        let md = &after.domains[0].md;
        assert_eq!((md.state, md.ca.account.as_deref()), (State::Complete, Some(ACCOUNT)));
        assert!(after.due_at(0, after.clock.now()).is_some_and(|at| at > after.clock.now()));
    }

    #[test]
    fn a_server_that_runs_serves_what_is_activated_beside_it() {
        let name = "live.offline.test";
        let mut server = TestServer::new(&[name]);
        server.declared[0].settings.activation = Some(crate::model::ActivationMode::Live);
        let running = server.start(false);
        running.live_sets.open(None);
        let begun = registry(&server, None);
        renew(&server, &begun).unwrap();
        assert_eq!(begun.activate(0).unwrap(), Activation::Activated);
        let serial = |live: &CertificateSet| live.certificates[0].as_ref().map(Summary::serial_hex);
        let active = serial(&registry(&server, None).domains[0].at_start);
        assert!(active.is_some() && serial(&running.domains[0].served()).is_none());
        running.live_sets.look_around();
        assert_eq!(serial(&running.domains[0].served()), active);
        assert!(server.documents.store().generation().unwrap().is_some());
        // What is live decides whether anything is due, and goes to its place at the next start.
        assert!(begun.due_at(0, begun.clock.now()).is_some_and(|at| at > begun.clock.now()));
        let started = server.start(true);
        assert_eq!(serial(&started.domains[0].at_start), active);
        assert!(server.documents.store().list(Group::Live).unwrap().is_empty());
    }

    #[test]
    fn what_a_server_has_renewed_and_serves_is_not_renewed_beside_it() {
        let mut server = TestServer::new(&["known.offline.test"]);
        server.declared[0].settings.activation = Some(crate::model::ActivationMode::Live);
        drop(server.run(true));
        let beside = registry(&server, None);
        let is_due = |now| beside.due_at(0, now).is_some_and(|at| at <= now);
        assert!(is_due(beside.clock.now()), "there is nothing in domains/");
        beside.live_sets.learn(0);
        assert!(!is_due(beside.clock.now()));
    }

    #[test]
    fn a_new_account_is_in_its_place_afterwards() {
        let server = TestServer::without_account(&["b.offline.test"]);
        drop(server.start(false));
        let begun = registry(&server, None);
        renew(&server, &begun).unwrap();
        assert_eq!(begun.activate(0).unwrap(), Activation::Activated);
        assert_eq!(server.documents.store().list(Group::Accounts).unwrap(), [ACCOUNT]);
        assert_eq!(server.ca.accounts(), 1);
    }

    #[test]
    fn a_reset_keeps_the_account_only() {
        let server = TestServer::without_account(&["c.offline.test"]);
        drop(server.run(false));
        let begun = registry(&server, None);
        reset(&server.documents, &begun.domains[0].md).unwrap();
        assert_eq!(server.documents.store().list(Group::Accounts).unwrap(), [ACCOUNT]);
        assert_eq!(begun.activate(0).unwrap(), Activation::Nothing);
        let claim = server.documents.store().claim("c.offline.test").unwrap();
        assert_eq!(reset(&server.documents, &begun.domains[0].md).unwrap_err().status, crate::model::Status::AGAIN);
        drop(claim);
    }

    #[test]
    fn a_reset_leaves_what_is_served() {
        let mut server = TestServer::new(&["f.offline.test"]);
        server.declared[0].settings.activation = Some(crate::model::ActivationMode::Live);
        drop(server.run(true));
        let live = server.text(Group::Live, "f.offline.test", &Aspect::LiveJson);
        reset(&server.documents, &registry(&server, None).domains[0].md).unwrap();
        assert_eq!(server.store.list(Group::Staging).unwrap(), [""; 0]);
        assert!(live.is_some() && server.text(Group::Live, "f.offline.test", &Aspect::LiveJson) == live);
    }

    #[test]
    fn one_type_of_challenge_can_be_chosen_without_being_stored() {
        let server = TestServer::new(&["d.offline.test"]);
        drop(server.start(false));
        let refused = registry(&server, Some("foo-01"));
        assert!(refused.domains[0].challenges.as_ref().as_ref().is_err_and(|reason| reason.contains("'foo-01'")));
        assert!(renew(&server, &refused).is_err());
        let chosen = registry(&server, Some("http-01"));
        assert!(chosen.domains[0].md.ca.challenges.is_empty());
        renew(&server, &chosen).unwrap();
    }

    #[test]
    fn what_is_due_does_not_depend_on_who_renews_but_on_what_is_served() {
        let name = "e.offline.test";
        let server = TestServer::new(&[name]);
        drop(server.start(false));
        let due = |mode, cert_files: &[&str]| {
            let (mut md, _) = stored_domain(&server.documents, name).unwrap();
            md.renew_mode = mode;
            md.cert_files = cert_files.iter().map(ToString::to_string).collect();
            server.documents.save_json(Group::Domains, name, &Aspect::MdJson, &md).unwrap();
            let registry = registry(&server, None);
            registry.due_at(0, registry.clock.now()).map(|at| at <= registry.clock.now())
        };
        for (mode, files, expected) in [
            (RenewMode::Auto, &[][..], Some(true)),
            (RenewMode::Manual, &[], Some(true)),
            (RenewMode::Manual, &["x"], None),
            (RenewMode::Auto, &["x"], None),
            (RenewMode::Always, &["x"], Some(true)),
        ] {
            assert_eq!(due(mode, files), expected, "{mode:?} {files:?}");
        }
    }

    #[test]
    fn a_set_that_is_served_is_no_renewal_that_was_forced() {
        let mut server = TestServer::new(&["g.offline.test"]);
        server.declared[0].settings.activation = Some(crate::model::ActivationMode::Live);
        drop(server.run(true));
        let beside = registry(&server, None);
        beside.live_sets.learn(0);
        let begin = |force| beside.begin(0, force, Arc::clone(&server.ca) as _).unwrap();
        assert!(matches!(begin(false), Begun::Complete { again_at: None }), "it is served, and staged still");
        assert!(matches!(begin(true), Begun::Started(_)));
    }
}
