//! The domains as their store has them, for a program that works beside the server or without one: what is due, and one
//! renewal at a time, activated at once.

use std::sync::Arc;

use jiff::Timestamp;

use super::accounts::StoredAccounts;
use super::activation::{self, Activation};
use super::renewal::{Begun, Ended, Renewal};
use super::vault::port_error;
use super::{Accounts, CLAIM_PATIENCE, DomainIndex, Entry, LiveSet, Registry, Vault, schedule, suitable};
use crate::acme::PortError;
use crate::clock::Clock;
use crate::http::HttpClient;
use crate::model::{CaSettings, DomainName, Globals, Job, ManagedDomain, RenewMode, State};
use crate::store::{Aspect, Group, Reachability, StoreError};

/// The domain that the store has under `name`, with the state that its certificates have now; `None` if there is none
/// that can be read.
#[must_use]
pub fn stored_domain(vault: &Vault, name: &str) -> Option<(ManagedDomain, LiveSet)> {
    let mut md: ManagedDomain = vault.load_json(Group::Domains, name, &Aspect::MdJson)?;
    md.name = DomainName::parse(name).ok()?;
    let live = LiveSet::load(vault, &md);
    md.state = live.state.unwrap_or(State::Unknown);
    md.state_descr.clone_from(&live.state_descr);
    Some((md, live))
}

/// What the next start would do with what is staged for `md`.
#[must_use]
pub fn activation_verdict(vault: &Vault, md: &ManagedDomain, now: Timestamp) -> Activation {
    activation::verdict(vault, md, now)
}

/// Forgets what a renewal of `md` has left in staging. An account that waits there gets to its place before.
///
/// # Errors
/// If the store cannot be written, or another process works on the domain.
pub fn reset(vault: &Arc<Vault>, md: &ManagedDomain) -> Result<(), PortError> {
    let name = md.name.as_str();
    let claim = vault.store().claim_within(name, CLAIM_PATIENCE).map_err(port_error)?;
    let _claim = claim.ok_or_else(|| claimed_elsewhere(md))?;
    Accounts::read(vault)?.adopt_from(vault, name);
    activation::tear_down(vault, name)?;
    vault.store().clear(Group::Staging, name).map_err(port_error)
}

/// The failure to work on a domain that somebody else works on.
#[must_use]
pub fn claimed_elsewhere(md: &ManagedDomain) -> PortError {
    let text = format!("{}: another process, such as the server, works on it; try again when it is done", md.name);
    PortError { status: crate::model::Status::AGAIN, text }
}

impl Registry {
    /// All domains of a store. `only` is a type of challenge to use instead of those that are configured.
    ///
    /// # Errors
    /// If they cannot be listed; those that cannot be read are left out.
    pub fn stored(
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        reach: Reachability,
        only: Option<&str>,
    ) -> Result<Self, StoreError> {
        let names = vault.store().list(Group::Domains)?;
        let read = |name: &String| {
            let (md, live) = stored_domain(&vault, name)?;
            Some(entry(&vault, md, live, reach, only))
        };
        let entries: Vec<Entry> = names.iter().filter_map(read).collect();
        let index = DomainIndex::new(entries.iter().map(|entry| &*entry.md));
        Ok(Self { clock, globals: Globals::default(), entries, index, accounts: Arc::default(), vault })
    }

    /// When the domain at `position` is to be renewed, at the latest `now` if it lacks a certificate; `None` if this
    /// module does not renew it.
    #[must_use]
    pub fn due_at(&self, position: usize, now: Timestamp) -> Option<Timestamp> {
        let entry = &self.entries[position];
        let by_us = entry.md.renew_mode != RenewMode::Manual && entry.md.cert_files.is_empty();
        by_us.then(|| entry.renew_at(now))
    }

    /// The report on the renewal of a domain.
    #[must_use]
    pub fn job(&self, position: usize) -> Option<Job> {
        self.vault.load_json(Group::Staging, self.entries[position].md.name.as_str(), &Aspect::JobJson)
    }

    /// Begins to renew the domain at `position`, or goes on with what is staged. The rest is [`Renewal::step`] and
    /// [`Registry::close`].
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn begin(self: &Arc<Self>, position: usize, http: Arc<dyn HttpClient>) -> Result<Begun, PortError> {
        let entry = &self.entries[position];
        let (shared, vault) = (Arc::clone(&self.accounts), Arc::clone(&self.vault));
        let book = StoredAccounts::new(shared, vault, entry.md.name.as_str());
        Renewal::begin(position, entry, self, Arc::new(book), http)
    }

    /// Writes the report of a renewal, with the time of the next attempt if it failed, and gives the domain free.
    pub fn close(&self, mut renewal: Box<Renewal>, ended: Ended) {
        let delay = |failures, permanent| schedule::back_off(failures, permanent, self.globals.retry_delay, 0.5);
        renewal.end(ended, delay);
    }

    /// Activates what is staged for the domain at `position`, as a start of the server does.
    ///
    /// # Errors
    /// If accounts cannot be read, or another process works on the domain.
    pub fn activate(&self, position: usize) -> Result<Activation, PortError> {
        let md = &self.entries[position].md;
        let claim = self.vault.store().claim_within(md.name.as_str(), CLAIM_PATIENCE).map_err(port_error)?;
        let _claim = claim.ok_or_else(|| claimed_elsewhere(md))?;
        let mut accounts = Accounts::read(&self.vault)?;
        accounts.adopt_from(&self.vault, md.name.as_str());
        Ok(activation::activate(&self.vault, md, &accounts, self.clock.now()))
    }
}

/// The domain as a renewal wants it: with the CA that is in use.
fn entry(vault: &Vault, mut md: ManagedDomain, live: LiveSet, reach: Reachability, only: Option<&str>) -> Entry {
    let url = md.ca_url().map(str::to_owned);
    let urls = if md.ca.urls.is_empty() { url.iter().cloned().collect() } else { md.ca.urls.clone() };
    md.ca = Arc::new(CaSettings { url, urls, ..(*md.ca).clone() });
    let challenges = match only {
        Some(kind) => {
            let ca = CaSettings { challenges: vec![kind.to_owned()], ..(*md.ca).clone() };
            suitable::challenges(&ManagedDomain { ca: Arc::new(ca), ..md.clone() }, reach)
        }
        None => suitable::challenges(&md, reach),
    };
    let kept_ready = LiveSet::kept_ready(vault, &md);
    Entry { md: Arc::new(md), live, kept_ready, watched: true, challenges: Arc::new(challenges) }
}
