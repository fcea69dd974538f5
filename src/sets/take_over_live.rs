//! Takes over at a start what was live when the server ended: it moves from `live/` to `domains/`, and of each type of key
//! the newest is kept.

use std::sync::Arc;

use jiff::Timestamp;

use super::activation::{self, Activation};
use super::newest::{LiveFile, newest, stored};
use super::pairs::{Pair, PairSet};
use crate::accounts::Accounts;
use crate::acme::PortError;
use crate::documents::{Documents, port_error};
use crate::log::{note, report};
use crate::model::ManagedDomain;

/// Moves a set that went live without a start to `domains/`, as far as it is newer than what is there. It need not be what
/// the domain is to have now: that is a reason to renew it. What is staged is left to the renewal that it belongs to. The
/// caller has the claim.
pub(crate) fn take_over(documents: &Documents, md: &ManagedDomain, accounts: &Accounts, now: Timestamp) -> Activation {
    let name = md.name.as_str();
    let live = match LiveFile::load(documents, md) {
        Ok(Some(live)) => live,
        // For types of key that the domain may have again, as it is with those in domains/.
        Ok(None) => return Activation::Nothing,
        Err(err) => return Activation::Waits(err.to_string()),
    };
    let settled = replacement(documents, md, &live, now)
        .map_or(Ok(Activation::Nothing), |pairs| replace_by(documents, md, live.pair_set, pairs, accounts));
    match settled.and_then(|settled| activation::forget_live(documents, name).map(|()| settled)) {
        Ok(settled) => settled,
        Err(err) => {
            report!(AH10069, err.status; "{name}: the set that was live stays in live/ until the next start: {err}");
            Activation::Failed(err)
        }
    }
}

/// The set that takes the place of the one in `domains/`; `None` if nothing in it is new.
fn replacement(documents: &Documents, md: &ManagedDomain, live: &LiveFile, now: Timestamp) -> Option<Vec<Pair>> {
    let is_live = |pair: &Pair| live.has(&pair.spec, &pair.chain);
    let is_stored =
        |pair: &Pair| stored(documents, md, &pair.spec).is_some_and(|own| own.chain.leaf() == pair.chain.leaf());
    let specs = md.key_specs().0;
    let pairs: Vec<_> = specs.iter().filter_map(|spec| newest(documents, md, spec, Some(live), now)).collect();
    let is_new = pairs.iter().any(|pair| is_live(pair) && !is_stored(pair));
    is_new.then_some(pairs)
}

fn replace_by(
    documents: &Documents,
    md: &ManagedDomain,
    pair_set: PairSet,
    pairs: Vec<Pair>,
    accounts: &Accounts,
) -> Result<Activation, PortError> {
    let mut md = md.clone();
    if pairs.len() < md.key_specs().0.len() {
        note!(Info, "{}: what was live lacks a type of key that is configured", md.name);
    }
    Arc::make_mut(&mut md.ca).url = pair_set.ca_url.or(md.ca.url.clone());
    let active = activation::write(documents, &mut md, pairs, accounts)?;
    documents.store().replace(md.name.as_str()).map_err(port_error)?;
    active.tell(documents, md.name.as_str());
    report!(AH10068, "{}: the set that was live is activated", md.name);
    Ok(Activation::Activated)
}
