//! All managed domains: configuration and store brought together at a start, and their renewals after it.
//!
//! A start has two phases, with the TLS module between them: [`Setup::begin`] gets the store and the staged sets into
//! order, so that certificates can be offered; [`Setup::finish`] knows which hosts use TLS and makes the [`Registry`].
#![forbid(unsafe_code)]

mod accounts;
mod activation;
mod active;
mod adoption;
mod advice;
mod ari;
mod bundles;
mod challenges;
mod configured;
#[cfg(test)]
pub(crate) mod disk;
mod entry;
mod events;
mod hosts;
mod index;
mod live;
mod newest;
mod offline;
mod order;
mod outlook;
mod pace;
mod placeholder;
mod registration;
mod renaming;
mod renewal;
mod renewals;
mod renewed_elsewhere;
mod rollover;
mod schedule;
pub mod self_restart;
mod settle;
mod staged;
mod staged_view;
mod stapling;
mod start;
mod suitable;
mod tailnet;
mod turn;
mod vault;
#[cfg(test)]
pub(crate) mod world;

use std::sync::Arc;

use self::challenges::Challenges;
use self::events::Events;
use self::schedule::Random;
use self::self_restart::Requests;
use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::model::{Globals, ManagedDomain};

pub use activation::Activation;
pub use adoption::Accounts;
pub use advice::{Advice, Suggestion};
pub use ari::Advisor;
pub use bundles::{AtStart, Bundle, BundleError, Bundles, Pair, Published, Served, Slot};
pub use challenges::tls_alpn_specs;
pub use configured::{check, configured};
pub use entry::Entry;
pub use hosts::Host;
pub use index::DomainIndex;
pub use live::{LiveSet, common_validity};
pub use newest::served_pairs;
pub use offline::{activation_verdict, reset, stored_domain};
pub use outlook::Place;
pub use registration::find_or_register;
pub use renewal::{Begun, Ended, Renewal};
pub use renewals::{Clients, Renewals};
pub use rollover::{account_key, roll_over};
pub use schedule::Validity;
pub use staged::{facts as staged_facts, report as staged_report};
pub use staged_view::{StagedView, StagedViews};
pub use stapling::word as revocation_word;
pub use stapling::{OTHER, OcspClient, Sha1, Staple, StapleView, Stapling, StaplingWork, Unstapled};
pub use start::{CannotStart, Setup, Start};
pub use suitable::reachability;
pub use turn::is_ca_gone;
pub use vault::{CLAIM_PATIENCE, Vault, claimed_elsewhere, to_json};

/// All domains, their certificates as they were at the start, and what is needed to renew them.
pub struct Registry {
    /// Documents and keys.
    pub vault: Arc<Vault>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Settings of the whole server.
    pub globals: Arc<Globals>,
    /// The domains, in order of declaration.
    pub entries: Vec<Entry>,
    /// Finds domains by name.
    pub index: DomainIndex,
    /// The certificates that are stapled, and their responses.
    pub stapling: Arc<Stapling>,
    /// Sets that went live since a start put them into `domains/`.
    pub bundles: Arc<Bundles>,
    /// What is asked of the parent.
    pub restarts: Requests,
    /// Positions of the domains that apply to each host.
    assigned: hosts::Assigned,
    staged_views: StagedViews,
    accounts: Arc<accounts::SharedAccounts>,
    challenges: Arc<Challenges>,
    /// Commands are told of what happens.
    tells: bool,
}

impl Registry {
    /// These domains, for a program that runs no commands and staples nothing.
    #[must_use]
    fn new(
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        globals: Globals,
        entries: Vec<Entry>,
        stapling: Arc<Stapling>,
    ) -> Self {
        let slots = entries.iter().map(|entry| entry.slot.clone()).collect();
        Self {
            index: DomainIndex::new(entries.iter().map(|entry| &*entry.md)),
            bundles: Arc::new(Bundles::new(Arc::clone(&vault), Arc::clone(&clock), slots)),
            challenges: Arc::new(Challenges::new(Arc::clone(&vault), Arc::clone(&clock), &globals)),
            restarts: Requests::default(),
            assigned: hosts::Assigned::default(),
            staged_views: StagedViews::default(),
            accounts: Arc::default(),
            tells: false,
            vault,
            clock,
            globals: Arc::new(globals),
            entries,
            stapling,
        }
    }

    /// For a server: domains apply to its hosts as `assigned` says, commands are told of events, and live sets are stapled.
    fn of_server(self, assigned: hosts::Assigned) -> Self {
        self.bundles.staple_by(&self.stapling);
        Self { assigned, tells: true, ..self }
    }

    /// The position of the domain whose certificates the host at that position gets.
    #[must_use]
    pub fn position_at(&self, host: usize) -> Option<usize> {
        self.assigned.of(host).first().copied()
    }

    /// The domains that apply to the host at that position.
    pub fn domains_at(&self, host: usize) -> impl Iterator<Item = &ManagedDomain> {
        self.assigned.of(host).iter().filter_map(|position| Some(&*self.entries.get(*position)?.md))
    }

    /// The domains, in order of declaration.
    #[must_use]
    pub fn domains(&self) -> Vec<Arc<ManagedDomain>> {
        self.entries.iter().map(|entry| Arc::clone(&entry.md)).collect()
    }

    /// The fetching of OCSP responses for what these domains serve.
    #[must_use]
    pub fn stapling_work(&self, client: OcspClient, random: Random) -> StaplingWork {
        let stapling = Arc::clone(&self.stapling);
        StaplingWork::new(stapling, Arc::clone(&self.globals), self.domains(), client, random)
    }

    /// Publishes sets that were put into `domains/` since the start or the last call; see [`Bundles::follow`].
    pub fn follow_copied(&self) -> usize {
        self.bundles.follow(self.entries.len(), |position| {
            let entry = &self.entries[position];
            AtStart { set: &entry.live, activated: entry.activated }
        })
    }

    /// What commands are told of in this process, which end when `cancel` says so.
    fn events(&self, cancel: &Cancel) -> Events {
        if self.tells { Events::new(&self.globals, cancel) } else { Events::silent() }
    }

    /// What is staged for a domain, if there is a renewal under way, and what the CA suggests about its certificates. Files
    /// are read only where they changed.
    #[must_use]
    pub fn staged_view(&self, md: &ManagedDomain) -> (Option<Arc<StagedView>>, Arc<Advice>) {
        self.staged_views.of(&self.vault, md, self.clock.now())
    }
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod several_cas;
#[cfg(test)]
mod tests;
