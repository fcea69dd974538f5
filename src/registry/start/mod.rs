//! A start: brings configuration and store together, and makes the registry of both.

pub(crate) mod challenge_types;
pub(crate) mod configuration;
pub(crate) mod hosts;
pub(crate) mod placeholder;
pub(crate) mod renaming;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::configuration::{Configured, configured};
use super::domain::Domain;
use super::next_ca::{self, NextCa};
use super::{Host, Ports, Registry, self_restart};
use crate::accounts::Accounts;
use crate::acme::ChallengeType;
use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::counts::Counts;
use crate::crypto::{Certificate, Summary};
use crate::documents::{CLEANING, Documents, to_json};
use crate::events::Events;
use crate::live::LiveSlot;
use crate::log::{note, report};
use crate::model::{
    Authorities, CaSettings, ContactSource, Declared, DomainName, Globals, KeySpec, ManagedDomain, RenewMode, Settings,
    State, Status, format_human, outside,
};
use crate::sets::{
    Activation, Advice, CertificateSet, StagedState, StoredPair, activation, active, served, take_over_live,
};
use crate::stapling::{self, Stapling};
use crate::store::{Aspect, Group, WorkClaim};

/// How long a start without the lock of the store waits, in all, for those who work on domains that are not complete.
const KEPT_OUT_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 2 });

/// How long a start waits for others that start or activate. That they hold it up for longer is no reason not to start.
const CHANGE_PATIENCE: Duration = Duration::from_secs(10);

/// The input of a start: configuration, and facts about the server.
pub struct Start {
    /// The domains as declared, in order.
    pub declared: Vec<Declared>,
    /// Settings of the main server.
    pub main: Settings,
    /// Settings of the whole server.
    pub globals: Globals,
    /// The main server and all virtual hosts.
    pub hosts: Vec<Host>,
    /// The server has run before and must not be ended by an error.
    pub is_restart: bool,
    /// The store can only be read: what is in `domains/` is served and nothing is renewed.
    pub read_only: bool,
    /// How long to wait, in all, for other processes that work in `staging/`.
    pub patience: Duration,
    /// Where the server counts what it does.
    pub counts: Option<&'static Counts>,
}

/// Why the server cannot start. The reason is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CannotStart;

/// Domains that can be asked for certificates but are not complete yet.
pub struct Setup {
    documents: Arc<Documents>,
    clock: Arc<dyn Clock>,
    globals: Globals,
    domains: Vec<ManagedDomain>,
    out_of_service: HashSet<DomainName>,
    hosts: Vec<Host>,
    assigned: hosts::Assigned,
    is_restart: bool,
    read_only: bool,
    counts: Option<&'static Counts>,
    patience: Duration,
    placeholders: placeholder::Placeholders,
    /// Certificates that were offered, and for how many names: reading them takes most of a start's time.
    looked_at: RefCell<HashMap<DomainName, (usize, CertificateSet)>>,
    /// The `MDStapling` of sections that have their own, by the name of the domain.
    stapling_said: HashMap<DomainName, bool>,
    collector: RefCell<stapling::Collector>,
    /// The times of activations that were announced before `domains/` was read, by the name of the domain.
    told: HashMap<DomainName, Timestamp>,
    /// Set if another process has kept the store locked, so that nothing was moved. This start waits until then for what that
    /// process may still be moving.
    kept_out: Option<Instant>,
    /// Kept until the certificates are read: those that were found must not go away before.
    _change: Option<WorkClaim>,
}

impl Setup {
    /// The first phase: domains with a new first name, accounts and staged sets get to their places.
    ///
    /// # Errors
    /// If the configuration contradicts itself.
    pub fn begin(start: Start, documents: Arc<Documents>, clock: Arc<dyn Clock>) -> Result<Self, CannotStart> {
        let Start { declared, main, globals, hosts, is_restart, read_only, patience, counts } = start;
        let Configured { domains, out_of_service } = configured(&declared, &main, &globals, is_restart)?;
        let assigned = hosts::assign(&domains, &hosts, globals.match_names, globals.base_server);
        let said = |one: &Declared| Some((one.names.first()?.clone(), one.settings.stapling?));
        let stapling_said = declared.iter().filter_map(said).collect();
        let change = if read_only { None } else { change(&documents) };
        let mut setup = Self {
            documents,
            clock,
            globals,
            domains,
            out_of_service,
            hosts,
            assigned,
            is_restart,
            read_only,
            patience,
            counts,
            placeholders: Default::default(),
            looked_at: RefCell::default(),
            stapling_said,
            collector: RefCell::default(),
            told: HashMap::new(),
            kept_out: None,
            _change: change,
        };
        if !read_only {
            setup.kept_out = (!setup.synchronise()).then(|| Instant::now() + KEPT_OUT_PATIENCE);
        }
        let told = |md: &ManagedDomain| Some((md.name.clone(), active::told(&setup.documents, md)?));
        setup.told = setup.domains.iter().filter_map(told).collect();
        Ok(setup)
    }

    /// Moves what is staged to its place, under the lock of the store if the configuration has one (`MDStoreLocks`). Returns `false`
    /// if another server has kept this one from that.
    fn synchronise(&self) -> bool {
        let lock = self.globals.store_locks.map(|patience| (patience, self.documents.store().lock_within(patience)));
        match &lock {
            None | Some((_, Ok(Some(_)))) => self.take_over(),
            Some((patience, Ok(None))) => report!(
                AH10398,
                "MDStoreLocks: another process has kept the store locked for {}; what is staged waits for the next start",
                format_human((*patience).try_into().unwrap_or_default())
            ),
            Some((_, Err(err))) => {
                report!(AH10398, err.status(); "MDStoreLocks: {err}; what is staged waits for the next start");
            }
        }
        matches!(lock, None | Some((_, Ok(Some(_)))))
    }

    /// Whether somebody else may just have put the domain's set into its place, as this one is not complete and another start
    /// has kept this one out: whoever works on the domain is done when this returns, or has been waited for.
    fn is_to_be_read_again(&self, md: &ManagedDomain, live: &CertificateSet) -> bool {
        let is_settled = md.is_static() || live.state == Some(State::Complete);
        let Some(until) = self.kept_out.filter(|_| !is_settled) else { return false };
        // Without a claim, what is there is looked at all the same.
        let _ = self.documents.store().claim_within(md.name.as_str(), until.saturating_duration_since(Instant::now()));
        true
    }

    /// Accounts before activation, which tells which account a set was made with. Whoever works in staging is waited for,
    /// but not for long: a worker of the former generation that cannot be interrupted must not keep the server down.
    fn take_over(&self) {
        let until = Instant::now() + self.patience;
        renaming::follow(&self.documents, &self.domains, until);
        let accounts = match Accounts::read(&self.documents) {
            Ok(mut accounts) => {
                accounts.adopt_staged(&self.documents, until);
                accounts
            }
            Err(err) => {
                report!(MD0028, err.status; "new accounts stay in staging: {err}");
                Accounts::default()
            }
        };
        self.activate_staged(&accounts, until);
    }

    fn activate_staged(&self, accounts: &Accounts, until: Instant) {
        let staged = self.documents.items(Group::Staging);
        let now = self.clock.now();
        let is_begun =
            |name: &str| staged.contains(name) && self.documents.store().exists(Group::Staging, name, &Aspect::MdJson);
        let mut activated = Vec::new();
        for md in self.domains.iter().filter(|md| is_begun(md.name.as_str())) {
            let patience = until.saturating_duration_since(Instant::now());
            match self.documents.store().claim_within(md.name.as_str(), patience) {
                Ok(Some(_claim)) => {
                    if activation::activate(&self.documents, md, accounts, now) == Activation::Activated {
                        activated.push(md);
                    }
                }
                Ok(None) => note!(Info, "{}: is being worked on, what is staged waits for the next start", md.name),
                Err(err) => report!(AH10069, err.status(); "{}: the staged set stays: {err}", md.name),
            }
        }
        self.take_over_live(accounts, &mut activated, until);
        self.tell_installed(activated);
    }

    /// Moves sets that were live to their places, except for the domains in `activated`, for which something newer was staged. A
    /// worker of the former generation may publish one meanwhile: it is served from `live/` until the next start.
    fn take_over_live<'a>(&'a self, accounts: &Accounts, activated: &mut Vec<&'a ManagedDomain>, until: Instant) {
        let live = self.documents.items(Group::Live);
        let is_left = |md: &&ManagedDomain| live.contains(md.name.as_str()) && !activated.contains(md);
        let left: Vec<_> = self.domains.iter().filter(is_left).collect();
        for md in left {
            let patience = until.saturating_duration_since(Instant::now());
            let settled = match self.documents.store().claim_within(md.name.as_str(), patience) {
                Ok(Some(_claim)) => take_over_live::take_over(&self.documents, md, accounts, self.clock.now()),
                Ok(None) => Activation::Waits("it is being worked on".to_owned()),
                Err(err) => Activation::Waits(err.to_string()),
            };
            match settled {
                Activation::Activated => activated.push(md),
                // Where sets go live, who serves it from there tells what is wrong with it.
                Activation::Waits(why) => note!(Info, "{}: what was live stays in live/ for now: {why}", md.name),
                _ => {}
            }
        }
    }

    /// A command that hangs keeps the server down once, not for each domain.
    fn tell_installed<'a>(&'a self, mut activated: Vec<&'a ManagedDomain>) {
        let cancel = Cancel::default();
        let events = Events::new(&self.globals, &cancel).counted(self.counts);
        if events.has_commands() {
            let is_left = |md: &&ManagedDomain| {
                !activated.contains(md) && activation::is_untold(&self.documents, md.name.as_str())
            };
            let left: Vec<_> = self.domains.iter().filter(is_left).collect();
            activated.extend(left);
        }
        for md in activated {
            match activation::tell_installed(&self.documents, md, &events, self.clock.now()) {
                Err(err) if err.status == Status::TIMED_OUT => cancel.cancel(),
                Err(err) if err.is_cancelled() => {
                    note!(Warning, "{}: 'installed' is not told, as the command hung for another domain", md.name);
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// The domain that certificates of the host at `position` come from. Several are an error at a start, while a
    /// running server goes on with the first.
    #[must_use]
    pub fn domain_of(&self, position: usize) -> Option<&ManagedDomain> {
        match self.assigned.of(position) {
            [] => None,
            [only] => self.domains.get(*only),
            [first, second, ..] => {
                let host = &self.hosts[position];
                let [one, other] = [first, second].map(|at| &self.domains[*at].name);
                report!(
                    AH10238,
                    "conflicting MDs for the TLS host {} ask for certificates: {one} and {other}; give the names of the host to \
                     one of them, or divide the host",
                    host.origin
                );
                self.domains.get(*first).filter(|_| self.is_restart)
            }
        }
    }

    /// The domain of which a TLS host without one gets the placeholder, as it has no certificate and the domain has no host: one
    /// is probably meant for the other. A start is left to mod_ssl, which refuses it, while a running server goes on.
    #[must_use]
    pub fn substitute_of(&self, position: usize) -> Option<&ManagedDomain> {
        let host = self.hosts.get(position).filter(|_| self.assigned.of(position).is_empty())?;
        hosts::report_bare(host, &self.domains, &self.assigned).filter(|_| self.is_restart)
    }

    /// Whether the server runs with what the start before left, as the store cannot be written.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Positions, among the domain's key types or its files, of the certificates for which a key and a chain are there
    /// that fit each other.
    #[must_use]
    pub fn usable(&self, md: &ManagedDomain) -> Vec<usize> {
        self.usable_pairs(md).0
    }

    /// Returns what [`Setup::usable`] does, and those pairs that are in the store.
    #[must_use]
    pub fn usable_pairs(&self, md: &ManagedDomain) -> (Vec<usize>, Vec<StoredPair>) {
        let look = || {
            let mut usable = (Vec::new(), Vec::new());
            let mut position = 0;
            let live = CertificateSet::look(&self.documents, md, |source, found| {
                if served::is_usable(md, source, &found) {
                    usable.0.push(position);
                    usable.1.extend(served::stored_pair(source, found));
                }
                position += 1;
            });
            (usable, live)
        };
        let (mut usable, mut live) = look();
        if self.is_to_be_read_again(md, &live) {
            (usable, live) = look();
        }
        let mut looked_at = self.looked_at.borrow_mut();
        looked_at.values().next().into_iter().for_each(|(_, other)| live.share(other));
        looked_at.insert(md.name.clone(), (md.domains.len(), live));
        usable
    }

    /// Takes a certificate of the host at `position`, given as PEM with its issuer after it, to be stapled. `stapling` and
    /// `others` are the host's `MDStapling` and `MDStapleOthers`, with what it inherits. `false` if we do not staple it: that is
    /// not wanted, or it names no responder, or it cannot be used (AH10268, AH10269).
    pub fn prime(&self, position: usize, stapling: Option<bool>, others: Option<bool>, pem: &[u8]) -> bool {
        let is_stapled = self.staples(position, stapling, others);
        let md = self.domain_at(position);
        let mut collector = self.collector.borrow_mut();
        match (is_stapled, md) {
            (true, md) => collector.prime(md, pem),
            (false, Some(md)) if md.must_staple => collector.report_unstapled(md, pem),
            _ => false,
        }
    }

    /// Whether it is us who staple certificates of the host at `position`; the rest as for [`Setup::prime`]. What goes live for
    /// it is stapled as well then.
    #[must_use]
    pub fn staples(&self, position: usize, stapling: Option<bool>, others: Option<bool>) -> bool {
        let only = match self.assigned.of(position) {
            [only] => self.domains.get(*only).map(|md| (self.stapling_said.get(&md.name).copied(), md.stapling)),
            _ => None,
        };
        let is_stapled = stapling::is_stapled(only, stapling, others);
        if let Some(md) = self.domain_at(position).filter(|md| is_stapled && md.goes_live()) {
            self.collector.borrow_mut().expect(md);
        }
        is_stapled
    }

    /// Whether sets of the domain that the host at `position` gets its certificates from go live.
    #[must_use]
    pub fn goes_live(&self, position: usize) -> bool {
        self.domain_at(position).is_some_and(ManagedDomain::goes_live)
    }

    /// Whether the certificate is one that the domain of the host at `position` has been found to have.
    #[must_use]
    pub fn is_of_domain(&self, position: usize, leaf: &Certificate) -> bool {
        let looked_at = self.looked_at.borrow();
        let found = self.domain_at(position).and_then(|md| looked_at.get(&md.name));
        let mut known = found.into_iter().flat_map(|(_, live)| live.certificates.iter().flatten());
        known.any(|known| known.sha256_fingerprint() == leaf.summary().sha256_fingerprint())
    }

    /// Whether the certificate is for a name of the host at `position`.
    #[must_use]
    pub fn is_for_host(&self, position: usize, leaf: &Certificate) -> bool {
        self.hosts.get(position).is_some_and(|host| host.is_named_in(leaf))
    }

    fn domain_at(&self, position: usize) -> Option<&ManagedDomain> {
        self.domains.get(*self.assigned.of(position).first()?)
    }

    /// Ensures that the domain has placeholders.
    ///
    /// # Errors
    /// If they cannot be made (AH10174).
    pub fn ensure_placeholder(&self, md: &ManagedDomain) -> Result<(), CannotStart> {
        self.placeholders.ensure(&self.documents, md, self.clock.now()).map_err(|err| {
            report!(AH10174, err.status; "{}: the placeholder certificate cannot be made: {err}", md.name);
            CannotStart
        })
    }

    /// A domain with files that mod_ssl takes, the types of their keys, and whether they are placeholders.
    #[must_use]
    pub fn lender(&self) -> Option<(&ManagedDomain, Vec<KeySpec>, bool)> {
        let lends = |md| {
            let specs = placeholder::usable_key_types(&self.documents, md, self.clock.now());
            let usable = |at: usize| md.key_specs().0.get(at).cloned();
            let stored = || self.usable(md).into_iter().filter_map(usable).collect();
            let (specs, is_placeholder) = if specs.is_empty() { (stored(), false) } else { (specs, true) };
            (!specs.is_empty()).then_some((md, specs, is_placeholder))
        };
        self.domains.iter().filter(|md| !md.is_static()).find_map(lends)
    }

    /// The second phase. `tls` says for each host whether it asked for certificates.
    ///
    /// # Errors
    /// If a TLS host has several domains (AH10042) or a domain cannot be saved (AH10172); at a restart such a domain
    /// goes on as it can.
    pub fn finish(mut self, tls: impl Fn(usize) -> bool, ports: &Ports) -> Result<Registry, CannotStart> {
        for (position, host) in self.hosts.iter_mut().enumerate() {
            host.tls = tls(position);
        }
        self.check_hosts()?;
        hosts::add_members(&mut self.domains, &self.hosts, &self.assigned);
        hosts::add_contacts(&mut self.domains, &self.hosts, &self.assigned);
        if !self.read_only {
            self.clean_up_challenges();
        }
        configuration::advise(&self.domains, &self.hosts, &self.globals, || Accounts::read(&self.documents).ok());
        hosts::report_not_found(&self.domains, &self.hosts, &self.assigned);
        hosts::report_without_tls(&self.domains, &self.hosts, &self.assigned);
        hosts::check_required_https(&self.domains, &self.hosts, &self.assigned);
        hosts::find_protocols(
            &mut self.domains,
            &self.hosts,
            &self.assigned,
            self.globals.base_server,
            ports.reach.https,
        );
        let stapling = self.stapling();
        let used: HashSet<usize> = self.assigned.iter().flatten().copied().collect();
        let mut domains = Vec::with_capacity(self.domains.len());
        let mut changed = Vec::new();
        for (position, md) in std::mem::take(&mut self.domains).into_iter().enumerate() {
            let (domain, stored) = self.complete(md, used.contains(&position), ports, domains.last(), &stapling);
            if stored != Stored::Same && !self.read_only && !self.out_of_service.contains(&domain.md.name) {
                changed.push((position, stored));
            }
            domains.push(domain);
        }
        if !self.is_restart {
            self.start_over_failed(&domains);
        }
        self.save(changed.iter().map(|(position, stored)| (&*domains[*position].md, *stored)))?;
        self_restart::advise(&domains);
        let watched = domains.iter().filter(|domain| domain.watched).count();
        if watched > 0 {
            report!(AH10074, "{watched} out of {} managed domains are watched", domains.len());
        } else {
            report!(AH10075, "no managed domains to supervise");
        }
        let Self { documents, clock, globals, assigned, is_restart, counts, .. } = self;
        Ok(Registry::new(documents, clock, globals, domains, stapling).of_server(assigned, is_restart, counts))
    }

    fn stapling(&mut self) -> Arc<Stapling> {
        let mut collector = self.collector.take();
        let offered = |name: &DomainName| {
            let (_, live) = self.looked_at.get_mut().get(name)?;
            Some((name.clone(), live.certificates.iter().flatten().map(Summary::sha256_fingerprint).collect()))
        };
        let offered = collector.expected().iter().filter_map(offered).collect();
        collector.offered(&offered);
        let stapling = collector.finish(&self.documents, &self.clock, &self.globals, self.is_restart);
        if !self.read_only {
            stapling.clean_up(&self.globals);
        }
        Arc::new(stapling)
    }

    fn check_hosts(&self) -> Result<(), CannotStart> {
        for (host, positions) in hosts::tls_hosts(&self.hosts, &self.assigned) {
            for position in positions {
                report!(
                    AH10041,
                    "Managed Domain {} applies to the virtual host {}",
                    self.domains[*position].name,
                    host.origin
                );
            }
        }
        let conflicts = hosts::report_conflicts(&self.domains, &self.hosts, &self.assigned);
        if conflicts == 0 || self.is_restart { Ok(()) } else { Err(CannotStart) }
    }

    /// New files do not wait for the disk: there is nothing in them that the next start would not write again.
    fn save<'a>(&self, domains: impl Iterator<Item = (&'a ManagedDomain, Stored)>) -> Result<(), CannotStart> {
        let store = self.documents.store();
        let files = domains.filter_map(|(md, stored)| Some((stored, (md.name.as_str(), to_json(md).ok()?))));
        let (new, known): (Vec<_>, Vec<_>) = files.partition(|(stored, _)| *stored == Stored::Absent);
        let [new, known] = [new, known].map(|files| files.into_iter().map(|(_, file)| file).collect::<Vec<_>>());
        let mut saved: Vec<_> =
            new.iter().map(|(name, text)| store.save_lazily(Group::Domains, name, &Aspect::MdJson, text)).collect();
        saved.extend(store.save_each(Group::Domains, &Aspect::MdJson, &known));
        let files = new.iter().chain(&known);
        let mut result = Ok(());
        for ((name, _), err) in files.zip(saved).filter_map(|(file, saved)| Some((file, saved.err()?))) {
            report!(AH10172, err.status(); "{name}: cannot be saved: {err}");
            result = if self.is_restart { Ok(()) } else { Err(CannotStart) };
        }
        result
    }

    /// Brings one domain together with what the store has of it, and compares the two.
    ///
    /// What the domain has in common with `other` is kept once: there may be thousands of domains.
    fn complete(
        &self,
        mut md: ManagedDomain,
        used: bool,
        ports: &Ports,
        other: Option<&Domain>,
        stapling: &Arc<Stapling>,
    ) -> (Domain, Stored) {
        if !used {
            hosts::report_unused(&md);
        }
        let mut at_start = self.certificates_of(&md);
        let text = self.stored_text(&md);
        let known = text.as_deref().and_then(|text| read_stored(&md, text));
        merge(&mut md, known.as_ref(), at_start.certificates.iter().any(Option::is_some));
        if let Some(other) = other {
            md.share(&other.md);
            at_start.share(&other.at_start);
        }
        md.state = at_start.state.unwrap_or(State::Unknown);
        md.state_descr.clone_from(&at_start.state_descr);
        let stored = Stored::compare(text.as_deref(), &md);
        let in_service = !self.read_only && !self.out_of_service.contains(&md.name);
        let watched = in_service && configuration::is_watched(&md, used);
        let renewable = watched && md.renew_mode != RenewMode::Manual;
        if renewable && next_ca::is_ca_gone(&md) {
            let former = md.ca_url().unwrap_or_default();
            let present = md.ca.urls.join(" ");
            report!(
                MD0018,
                "{}: its certificate came from {former}, which is no longer configured; ordering a new one from {present}",
                md.name
            );
        }
        let challenges = self.challenges_of(&md, ports, renewable, other);
        report!(AH10039, "Completed MD[{}, CA={:?}, state={:?}]", md.name, md.ca.urls, md.state);
        let activated = served::activated(&self.documents, &md);
        let md = Arc::new(md);
        let domain = Domain {
            standby: CertificateSet::standby(&self.documents, &md),
            watched,
            issued_by: shared_ca(known.map(|known| known.ca).unwrap_or_default(), &md, other),
            ordered: self.ordered_lately(&md, &at_start, activated),
            activated,
            told: self.told.get(&md.name).copied(),
            last_renewal: served::last_renewal(&self.documents, &md, &challenges),
            challenges,
            stapling: Arc::clone(stapling),
            slot: LiveSlot::new(&md, &at_start),
            at_start,
            md,
        };
        (domain, stored)
    }

    /// Returns when the certificates in the store were obtained, if they are due sooner after that than is borne. Few are: their
    /// reports are not read.
    fn ordered_lately(
        &self,
        md: &ManagedDomain,
        at_start: &CertificateSet,
        activated: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let now = self.clock.now();
        let borne = activated? + served::pause_after_order(&at_start.certificates);
        let due = at_start.renew_at(md.configured_renew_window(), &Advice::default(), now);
        (now < borne && due < borne).then(|| served::ordered(&self.documents, md, &at_start.certificates)).flatten()
    }

    /// Returns the certificates that a domain serves from this start on.
    fn certificates_of(&self, md: &ManagedDomain) -> CertificateSet {
        // Names that were added since may not be covered.
        let looked_at = self.looked_at.borrow_mut().remove(&md.name).filter(|(names, _)| *names == md.domains.len());
        let found = looked_at.map_or_else(|| CertificateSet::load(&self.documents, md), |(_, found)| found);
        if self.is_to_be_read_again(md, &found) { CertificateSet::load(&self.documents, md) } else { found }
    }

    /// Returns the stored form of a domain, without what a power failure leaves of a file that was new.
    fn stored_text(&self, md: &ManagedDomain) -> Option<Vec<u8>> {
        let text = self.documents.store().load(Group::Domains, md.name.as_str(), &Aspect::MdJson).ok().flatten();
        text.filter(|text| !text.is_empty())
    }

    /// Returns the challenge types that a domain can use; without any, the reason is reported if the domain is to be renewed.
    fn challenges_of(
        &self,
        md: &ManagedDomain,
        ports: &Ports,
        renewable: bool,
        other: Option<&Domain>,
    ) -> Arc<Result<Vec<ChallengeType>, String>> {
        let challenges = challenge_types::challenges(md, ports, self.globals.dns01_command.is_some());
        if renewable {
            challenge_types::report_unproven(md, &challenges);
        }
        match other.map(|other| &other.challenges) {
            Some(others) if **others == challenges => Arc::clone(others),
            _ => Arc::new(challenges),
        }
    }

    /// Challenge data of names that no domain has is of no use. A domain that the configuration does not have may be one that
    /// `a2md` is at work on.
    fn clean_up_challenges(&self) {
        let mut left = self.documents.items(Group::Challenges);
        if left.is_empty() {
            return;
        }
        let until = Instant::now() + CLEANING;
        let is_time_left = |_: &_| Instant::now() < until;
        let mut unconfigured = self.documents.items(Group::Staging);
        self.domains.iter().for_each(|md| _ = unconfigured.remove(md.name.as_str()));
        let begun = |name: &String| self.documents.load_json(Group::Staging, name, &Aspect::MdJson);
        let begun: Vec<ManagedDomain> = unconfigured.iter().take_while(is_time_left).filter_map(begun).collect();
        self.domains.iter().chain(&begun).flat_map(|md| &md.domains).for_each(|name| _ = left.remove(name.as_str()));
        // Where there is no time for all domains, it is not known which names are left over.
        for name in left.iter().take_while(is_time_left) {
            if let Err(err) = self.documents.store().purge_lazily(Group::Challenges, name) {
                report!(MD0028, err.status(); "challenge data for {name} cannot be removed: {err}");
            }
        }
    }

    /// At a full start a renewal that had failed is due at once, except where the CA said when.
    fn start_over_failed(&self, domains: &[Domain]) {
        let staged = self.documents.items(Group::Staging);
        let staged = |domain: &&Domain| domain.renewable() && staged.contains(domain.md.name.as_str());
        let now = self.clock.now();
        for md in domains.iter().filter(staged).map(|domain| &domain.md) {
            let name = md.name.as_str();
            let staged = StagedState::read(&self.documents, md);
            let NextCa { mut known, .. } = NextCa::of(&staged);
            let mut job = staged.job;
            if job.errors == 0 {
                continue;
            }
            report!(
                AH10064,
                "{name}: the renewal had {} errors before the server started, its count starts over",
                job.errors
            );
            job.errors = 0;
            known.start_over(now);
            job.retry_after =
                known.next(&md.ca.urls, self.globals.retry_failover, now).and_then(|next| next.retry_after);
            job.next_run = job.retry_after.max(next_ca::validation_floor(&job, now));
            job.authorities = if md.ca.urls.len() > 1 { known } else { Authorities::default() };
            if let Err(err) = self.documents.save_json(Group::Staging, name, &Aspect::JobJson, &job) {
                report!(MD0028, err.status; "{name}: {err}");
            }
        }
    }

    /// Whether a start would activate something for which the server restarts itself.
    #[must_use]
    pub fn would_activate(&self) -> bool {
        let now = self.clock.now();
        let is_ready = |md: &ManagedDomain| activation::verdict(&self.documents, md, now) == Activation::Activated;
        self.domains.iter().any(|md| self_restart::restarts(md) && is_ready(md))
    }
}

/// How what is stored of a domain compares with what it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    Absent,
    Same,
    Different,
}

impl Stored {
    fn compare(text: Option<&[u8]>, md: &ManagedDomain) -> Self {
        match text {
            None => Self::Absent,
            Some(text) if to_json(md).is_ok_and(|now| now == text) => Self::Same,
            Some(_) => Self::Different,
        }
    }
}

/// Parses the stored form of a domain; `None` if it is damaged, which is reported.
fn read_stored(md: &ManagedDomain, text: &[u8]) -> Option<ManagedDomain> {
    let name = &md.name;
    outside::stored(text)
        .inspect_err(|err| {
            note!(Error, "failed to load JSON file domains/{name}/md.json: {err}; it is ignored and made anew")
        })
        .ok()
}

/// Returns the settings of a CA, shared with the domain or with `other` if one of them has the same.
fn shared_ca(ca: Arc<CaSettings>, md: &ManagedDomain, other: Option<&Domain>) -> Arc<CaSettings> {
    let same = [Some(&md.ca), other.map(|other| &other.issued_by)].into_iter().flatten().find(|own| **own == ca);
    same.cloned().unwrap_or(ca)
}

/// Takes over from the stored form what the configuration does not say.
fn merge(md: &mut ManagedDomain, known: Option<&ManagedDomain>, has_certificates: bool) {
    let known_url = known.and_then(|known| known.ca.url.as_ref());
    let url = next_ca::in_use(&md.ca.urls, known_url, has_certificates);
    let account = known.filter(|_| url.is_some() && url.as_ref() == known_url);
    let account = account.and_then(|known| known.ca.account.clone());
    md.ca = Arc::new(CaSettings { account, url, ..(*md.ca).clone() });
    // A ServerAdmin that is of no use is a decision of the configuration, too.
    if let Some(known) = known.filter(|_| md.contacts.is_empty() && *md.contact_source == ContactSource::Store) {
        md.contacts.clone_from(&known.contacts);
        md.contact_source.clone_from(&known.contact_source);
    }
}

/// Keeps others from starting or activating anything as long as it lasts. Who cannot have that goes on without.
pub(crate) fn change(documents: &Documents) -> Option<WorkClaim> {
    let change = documents.store().change_within(CHANGE_PATIENCE);
    let change = change.inspect_err(|err| note!(Info, err.status(); "others are not kept from the store: {err}"));
    let change = change.ok()?;
    if change.is_none() {
        note!(
            Info,
            "another server has been starting on this store for {CHANGE_PATIENCE:?}: it is not waited for any longer"
        );
    }
    change
}
