//! Makes a staged set the one that is served: `staging/` -> `tmp/` -> `domains/`, the former set goes to `archive/`.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::adoption::Accounts;
use super::challenges;
use super::live::LiveSet;
use super::staged::{self, Unusable};
use super::vault::{Vault, port_error};
use crate::acme::{AccountScope, PortError};
use crate::crypto::{Chain, PrivateKey};
use crate::log::{note, report};
use crate::model::{DomainName, Job, KeySpec, ManagedDomain, State, Status, time};
use crate::store::{Aspect, Group};

/// Certificates that are good this soon are good enough: clocks differ.
const EARLY: SignedDuration = SignedDuration::from_mins(5);

/// What becomes of a staged set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activation {
    /// There is none.
    Nothing,
    /// It is served from now on.
    Activated,
    /// It stays as it is, for this reason.
    Waits(String),
    /// It cannot be used and is dropped, for this reason.
    Dropped(String),
    /// The store failed; it stays as it is.
    Failed(Status),
}

/// Activates what is staged for `md` if it is complete and verifies. A set that is not complete stays for the renewal
/// to go on with, and so does one that is not valid yet while another is served. One that is wrong is dropped (AH10069),
/// and the renewal starts over. What is served is never touched by a failure.
pub fn activate(vault: &Arc<Vault>, md: &ManagedDomain, accounts: &Accounts, now: Timestamp) -> Activation {
    let name = md.name.as_str();
    let Some(staged) = staged_for(vault, name) else { return Activation::Nothing };
    let live = prepare(vault, md, staged.clone(), accounts, now)
        .and_then(|()| vault.store().replace(name).map_err(|err| Failed::Store(port_error(err))));
    match live {
        Ok(()) => {
            report!(AH10068, "{name}: staged set activated");
            if let Err(err) = remove_staged(vault, name, &staged) {
                note!(Warning, err.status; "{name}: what was staged is active but cannot be removed: {err}");
            }
            Activation::Activated
        }
        Err(Failed::NotYet(reason)) => {
            note!(Debug, "{name}: staged set is not complete: {reason}");
            Activation::Waits(reason)
        }
        Err(Failed::TooEarly(from)) => {
            let from = time::format_gmt(from);
            note!(
                Info,
                "{name}: what is staged can be used from {from} on; what is served stays until a start after that"
            );
            Activation::Waits(too_early(&from))
        }
        Err(Failed::Unusable(reason)) => {
            report!(AH10069, "{name}: the staged set cannot be used and is dropped, its renewal starts over: {reason}");
            drop_staged(vault, name, &staged);
            Activation::Dropped(reason)
        }
        Err(Failed::Store(err)) => {
            report!(AH10069, err.status; "{name}: the staged set stays until the next start: {err}");
            Activation::Failed(err.status)
        }
    }
}

/// What [`activate`] would do with what is staged for `md`, if the store does not fail.
pub fn verdict(vault: &Vault, md: &ManagedDomain, now: Timestamp) -> Activation {
    let Some(staged) = staged_for(vault, md.name.as_str()) else { return Activation::Nothing };
    match verified_pairs(vault, md, &staged, now) {
        Ok(_) => Activation::Activated,
        Err(Failed::NotYet(reason)) => Activation::Waits(reason),
        Err(Failed::TooEarly(from)) => Activation::Waits(too_early(&time::format_gmt(from))),
        Err(Failed::Unusable(reason)) => Activation::Dropped(reason),
        Err(Failed::Store(err)) => Activation::Failed(err.status),
    }
}

/// The domain as it was when what is staged was begun.
fn staged_for(vault: &Vault, name: &str) -> Option<ManagedDomain> {
    let staged: ManagedDomain = vault.load_json(Group::Staging, name, &Aspect::MdJson)?;
    // It may have been staged under another name.
    let staged = ManagedDomain { name: DomainName::parse(name).ok()?, ..staged };
    staged.ca.url.is_some().then_some(staged)
}

fn too_early(from: &str) -> String {
    format!("it can be used from {from} on")
}

enum Failed {
    NotYet(String),
    TooEarly(Timestamp),
    Unusable(String),
    Store(PortError),
}

impl From<PortError> for Failed {
    fn from(err: PortError) -> Self {
        Self::Store(err)
    }
}

/// Assembles the set in `tmp/`.
fn prepare(
    vault: &Arc<Vault>,
    md: &ManagedDomain,
    mut staged: ManagedDomain,
    accounts: &Accounts,
    now: Timestamp,
) -> Result<(), Failed> {
    let (name, store) = (md.name.as_str(), vault.store());
    let pairs = verified_pairs(vault, md, &staged, now)?;
    tear_down(vault, name)?;
    let ca_url = staged.ca.url.clone().unwrap_or_default();
    let scope = AccountScope { ca_url, eab: staged.eab.as_deref().cloned() };
    Arc::make_mut(&mut staged.ca).account = accounts.id_for(&scope).map(str::to_owned);
    store.purge(Group::Tmp, name).map_err(port_error)?;
    vault.save_json(Group::Tmp, name, &Aspect::MdJson, &staged)?;
    for (spec, (key, chain)) in pairs {
        vault.save_key(Group::Tmp, name, &Aspect::PrivateKey(spec.clone()), &key)?;
        store.save(Group::Tmp, name, &Aspect::Chain(spec), &chain.to_pem()).map_err(port_error)?;
    }
    if let Some(mut job) = vault.load_json::<Job>(Group::Staging, name, &Aspect::JobJson) {
        name.clone_into(&mut job.name);
        job.record(now, "message-installed", None, None);
        vault.save_json(Group::Tmp, name, &Aspect::JobJson, &job)?;
    }
    Ok(())
}

type Pairs = Vec<(KeySpec, (PrivateKey, Chain))>;

/// The keys and chains that are staged, if they can take the place of what is served.
fn verified_pairs(vault: &Vault, md: &ManagedDomain, staged: &ManagedDomain, now: Timestamp) -> Result<Pairs, Failed> {
    let mut pairs = Vec::new();
    for spec in staged.key_specs().0 {
        let pair = staged::verified(vault, staged, &spec, now).map_err(|err| match err {
            Unusable::Incomplete(reason) => Failed::NotYet(reason),
            Unusable::Damaged(reason) => Failed::Unusable(reason),
        })?;
        pairs.push((spec, pair));
    }
    let from = pairs.iter().map(|(_, (_, chain))| chain.leaf().not_before()).max().unwrap_or(now);
    if from > now + EARLY && is_served(vault, md, from, now) {
        return Err(Failed::TooEarly(from));
    }
    Ok(pairs)
}

/// Whether what is there now can be used, and not later than what is good `from` a moment.
fn is_served(vault: &Vault, md: &ManagedDomain, from: Timestamp, now: Timestamp) -> bool {
    let live = LiveSet::stored(vault, md);
    live.state == Some(State::Complete)
        && live.common_validity().is_some_and(|(since, until)| since <= from && now < until)
}

/// Takes away what a renewal has set up and drops what it staged.
fn drop_staged(vault: &Arc<Vault>, name: &str, staged: &ManagedDomain) {
    if let Err(err) = tear_down(vault, name).and_then(|()| remove_staged(vault, name, staged)) {
        note!(Error, err.status; "{name}: the staged set cannot be removed: {err}");
    }
}

/// An account that waits here, or the key for one, stays: nobody else may have it. So does what is left of an order after
/// [`tear_down`].
fn remove_staged(vault: &Vault, name: &str, staged: &ManagedDomain) -> Result<(), PortError> {
    let store = vault.store();
    let stays = [Aspect::AccountJson, Aspect::AccountKey, Aspect::OrderJson];
    if stays.iter().any(|aspect| store.exists(Group::Staging, name, aspect)) {
        // First what makes the rest a renewal that was begun.
        let mut files = vec![Aspect::MdJson, Aspect::JobJson];
        files.extend(
            staged.key_specs().0.into_iter().flat_map(|spec| [Aspect::PrivateKey(spec.clone()), Aspect::Chain(spec)]),
        );
        files.iter().try_for_each(|aspect| store.remove(Group::Staging, name, aspect)).map_err(port_error)?;
    } else {
        store.purge(Group::Staging, name).map_err(port_error)?;
    }
    store.purge(Group::Challenges, name).map_err(port_error)
}

/// Takes away what the renewal of a domain has set up, and its order. No command is run: what one has set up stays in the
/// journal, until the domain is looked at by who may run them.
pub(super) fn tear_down(vault: &Arc<Vault>, name: &str) -> Result<(), PortError> {
    let order = staged::load_order(vault, name);
    challenges::remove_files(vault, &order.challenge_setups)?;
    staged::save_order(vault, name, &challenges::left_over(order))
}
