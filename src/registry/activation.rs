//! Makes a staged set the one that is served: `staging/` -> `tmp/` -> `domains/`, the former set goes to `archive/`.

use std::sync::Arc;

use jiff::Timestamp;

use super::accounts;
use super::staged::{self, Unusable};
use super::vault::{Vault, port_error};
use crate::acme::{AccountScope, OrderRecord, PortError, Publisher, SetUp};
use crate::log::{note, report};
use crate::model::{Job, ManagedDomain};
use crate::store::{Aspect, Group};

/// Activates what is staged for `md` if it is complete and verifies. A set that is not complete stays for the renewal
/// to go on with; one that is wrong is dropped (AH10069), and the renewal starts over. What is served is never touched
/// by a failure.
pub fn activate(vault: &Arc<Vault>, md: &ManagedDomain, now: Timestamp) -> bool {
    let name = md.name.as_str();
    let Some(staged) = vault.load_json::<ManagedDomain>(Group::Staging, name, &Aspect::MdJson) else { return false };
    if staged.ca.url.is_none() {
        return false;
    }
    let result = prepare(vault, md, staged, now).and_then(|()| swap(vault, name));
    match result {
        Ok(()) => {
            report!(AH10068, "{name}: staged set activated");
            true
        }
        Err(Failed::NotYet(reason)) => {
            note!(Debug, "{name}: staged set is not complete: {reason}");
            false
        }
        Err(Failed::Unusable(reason)) => {
            report!(AH10069, "{name}: the staged set cannot be used and is dropped, its renewal starts over: {reason}");
            drop_staged(vault, name);
            false
        }
        Err(Failed::Store(err)) => {
            report!(AH10069, err.status; "{name}: the staged set stays until the next start: {err}");
            false
        }
    }
}

enum Failed {
    NotYet(String),
    Unusable(String),
    Store(PortError),
}

impl From<PortError> for Failed {
    fn from(err: PortError) -> Self {
        Self::Store(err)
    }
}

/// Assembles the set in `tmp/`.
fn prepare(vault: &Arc<Vault>, md: &ManagedDomain, mut staged: ManagedDomain, now: Timestamp) -> Result<(), Failed> {
    let (name, store) = (md.name.as_str(), vault.store());
    let mut pairs = Vec::new();
    for spec in staged.key_specs().0 {
        let pair = staged::verified(vault, &staged, &spec, now).map_err(|err| match err {
            Unusable::Incomplete(reason) => Failed::NotYet(reason),
            Unusable::Damaged(reason) => Failed::Unusable(reason),
        })?;
        pairs.push((spec, pair));
    }
    tear_down(vault, name)?;
    let ca_url = staged.ca.url.clone().unwrap_or_default();
    Arc::make_mut(&mut staged.ca).account = accounts::find_id(vault, &AccountScope { ca_url, eab: staged.eab.clone() });
    store.purge(Group::Tmp, name).map_err(port_error)?;
    vault.save_json(Group::Tmp, name, &Aspect::MdJson, &staged)?;
    for (spec, (key, chain)) in pairs {
        vault.save_key(Group::Tmp, name, &Aspect::PrivateKey(spec.clone()), &key)?;
        store.save(Group::Tmp, name, &Aspect::Chain(spec), &chain.to_pem()).map_err(port_error)?;
    }
    if let Some(mut job) = vault.load_json::<Job>(Group::Staging, name, &Aspect::JobJson) {
        job.record(now, "message-installed", None, None);
        vault.save_json(Group::Tmp, name, &Aspect::JobJson, &job)?;
    }
    Ok(())
}

fn swap(vault: &Vault, name: &str) -> Result<(), Failed> {
    let store = vault.store();
    store.replace(name).map_err(port_error)?;
    store.purge(Group::Staging, name).map_err(port_error)?;
    store.purge(Group::Challenges, name).map_err(port_error)?;
    Ok(())
}

/// Takes away what a renewal has set up and drops what it staged.
fn drop_staged(vault: &Arc<Vault>, name: &str) {
    let dropped = tear_down(vault, name)
        .and_then(|()| vault.store().purge(Group::Staging, name).map_err(port_error))
        .and_then(|()| vault.store().purge(Group::Challenges, name).map_err(port_error));
    if let Err(err) = dropped {
        note!(Error, err.status; "{name}: the staged set cannot be removed: {err}");
    }
}

fn tear_down(vault: &Arc<Vault>, name: &str) -> Result<(), PortError> {
    let order: OrderRecord = vault.load_json(Group::Staging, name, &Aspect::OrderJson).unwrap_or_default();
    let mut challenges = staged::StoredChallenges::new(Arc::clone(vault));
    for set_up in order.challenge_setups.iter().filter_map(|token| SetUp::parse(token)) {
        challenges.withdraw(&set_up)?;
    }
    vault.store().remove(Group::Staging, name, &Aspect::OrderJson).map_err(port_error)
}
