//! All managed domains: a start combines configuration and store into the registry, which everything else reads.
//!
//! A start has two phases, with the TLS module between them: [`Setup::begin`] gets the store and the staged sets into
//! order, so that certificates can be offered; [`Setup::finish`] knows which hosts use TLS and makes the [`Registry`].
#![forbid(unsafe_code)]

mod after_restart;
mod domain;
pub(crate) mod index;
pub(crate) mod next_ca;
mod renewed_elsewhere;
pub mod self_restart;
pub(crate) mod start;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use self::self_restart::Requests;
use self::start::hosts;
use crate::accounts::SharedAccounts;
use crate::acme::KnownCas;
use crate::cancel::Cancel;
use crate::challenges::Challenges;
use crate::clock::Clock;
use crate::counts::{Counts, RenewalOutcome};
use crate::documents::Documents;
use crate::events::Events;
use crate::live::{AtStart, LiveSets};
use crate::model::{Globals, ManagedDomain, RenewMode};
use crate::schedule::Random;
use crate::sets::{Advice, StagedView, StagedViews};
use crate::stapling::{OcspClient, Stapling, StaplingWork};
use crate::store::Group;

pub use after_restart::Place;
pub use domain::Domain;
pub use index::DomainIndex;
pub use next_ca::{NextCa, is_ca_gone};
pub use start::challenge_types::Ports;
pub(crate) use start::change;
pub use start::configuration::{check, configured};
pub use start::hosts::Host;
pub use start::{CannotStart, Setup, Start};

/// All domains with their certificates at the start, and the parts of the server that work for all of them.
pub struct Registry {
    /// Documents and keys.
    pub documents: Arc<Documents>,
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Settings of the whole server.
    pub globals: Arc<Globals>,
    /// The domains, in order of declaration.
    pub domains: Vec<Domain>,
    /// Finds domains by name.
    pub index: DomainIndex,
    /// The certificates that are stapled, and their responses.
    pub stapling: Arc<Stapling>,
    /// Sets that went live since a start put them into `domains/`.
    pub live_sets: Arc<LiveSets>,
    /// Requests to the parent process to restart the server.
    pub restarts: Requests,
    /// Positions of the domains that apply to each host.
    assigned: hosts::Assigned,
    staged_views: StagedViews,
    pub(crate) accounts: Arc<SharedAccounts>,
    pub(crate) known_cas: Arc<KnownCas>,
    pub(crate) challenges: Arc<Challenges>,
    /// Whether commands are run for events.
    pub(crate) runs_commands: bool,
    /// When the server was started, if that was not a graceful restart.
    pub(crate) full_start: Option<Timestamp>,
    /// Counts of what the server has done; `None` where nothing is counted.
    pub counts: Option<&'static Counts>,
}

impl Registry {
    /// Makes a registry of these domains, for a program that runs no commands and staples nothing.
    #[must_use]
    pub(crate) fn new(
        documents: Arc<Documents>,
        clock: Arc<dyn Clock>,
        globals: Globals,
        domains: Vec<Domain>,
        stapling: Arc<Stapling>,
    ) -> Self {
        let slots = domains.iter().map(|domain| domain.slot.clone()).collect();
        let live_sets = LiveSets::new(Arc::clone(&documents), Arc::clone(&clock), slots);
        live_sets.expect_others(globals.store_locks.is_some());
        Self {
            index: DomainIndex::new(domains.iter().map(|domain| &*domain.md)),
            live_sets: Arc::new(live_sets),
            challenges: Arc::new(Challenges::new(Arc::clone(&documents), Arc::clone(&clock), &globals)),
            restarts: Requests::default(),
            assigned: hosts::Assigned::default(),
            staged_views: StagedViews::default(),
            accounts: Arc::default(),
            known_cas: Arc::default(),
            runs_commands: false,
            full_start: None,
            counts: None,
            documents,
            clock,
            globals: Arc::new(globals),
            domains,
            stapling,
        }
    }

    /// Completes the registry of a server: domains apply to hosts as `assigned` says, commands are run for events, and live
    /// sets are stapled.
    fn of_server(self, assigned: hosts::Assigned, is_restart: bool, counts: Option<&'static Counts>) -> Self {
        self.live_sets.staple_by(&self.stapling);
        let full_start = (!is_restart).then(|| self.clock.now());
        Self { assigned, runs_commands: true, full_start, counts, ..self }
    }

    /// Returns the domains of the store that the server does not renew although nothing in `md.json` says so, with the reason.
    #[must_use]
    pub fn idle_domains(&self) -> BTreeMap<String, String> {
        const MOST: usize = 1000;
        let configured: HashSet<&str> = self.domains.iter().map(|domain| domain.md.name.as_str()).collect();
        let unknown =
            self.documents.items(Group::Domains).into_iter().filter(|name| !configured.contains(name.as_str()));
        let unknown = unknown.map(|name| (name, "no MDomain in the configuration of the server has this name"));
        let is_unused = |domain: &&Domain| domain.md.renew_mode == RenewMode::Auto && !domain.watched;
        let unused = self.domains.iter().filter(is_unused);
        let unused = unused.map(|domain| (domain.md.name.to_string(), "no host of the server has its names"));
        unknown.chain(unused).take(MOST).map(|(name, reason)| (name, reason.to_owned())).collect()
    }

    /// Counts the end of a renewal, where something counts.
    pub(crate) fn count_renewal(&self, outcome: RenewalOutcome) {
        if let Some(counts) = self.counts {
            counts.add_renewal(outcome);
        }
    }

    /// Returns the position of the domain whose certificates the host at that position gets.
    #[must_use]
    pub fn position_at(&self, host: usize) -> Option<usize> {
        self.assigned.of(host).first().copied()
    }

    /// Returns the domains that apply to the host at that position.
    pub fn domains_at(&self, host: usize) -> impl Iterator<Item = &ManagedDomain> {
        self.assigned.of(host).iter().filter_map(|position| Some(&*self.domains.get(*position)?.md))
    }

    /// Returns the domains, in order of declaration.
    #[must_use]
    pub fn domains(&self) -> Vec<Arc<ManagedDomain>> {
        self.domains.iter().map(|domain| Arc::clone(&domain.md)).collect()
    }

    /// Returns the work of fetching OCSP responses for the certificates that these domains serve.
    #[must_use]
    pub fn stapling_work(&self, client: OcspClient, random: Random) -> StaplingWork {
        let stapling = Arc::clone(&self.stapling);
        StaplingWork::new(stapling, Arc::clone(&self.globals), self.domains(), client, random).counted(self.counts)
    }

    /// Publishes sets that were put into `domains/` since the start or the last call; see [`LiveSets::follow`].
    pub fn follow_copied(&self) -> usize {
        self.live_sets.follow(self.domains.len(), |position| {
            let domain = &self.domains[position];
            AtStart { set: &domain.at_start, activated: domain.activated }
        })
    }

    /// Returns the events of this process, whose commands are ended when `cancel` is set.
    pub(crate) fn events(&self, cancel: &Cancel) -> Events {
        if self.runs_commands { Events::new(&self.globals, cancel).counted(self.counts) } else { Events::silent() }
    }

    /// Returns the staged set of a domain, if a renewal is under way, and the CA's advice about its certificates. Files are read
    /// only if they have changed.
    #[must_use]
    pub fn staged_view(&self, md: &ManagedDomain) -> (Option<Arc<StagedView>>, Arc<Advice>) {
        self.staged_views.of(&self.documents, md, self.clock.now())
    }
}
