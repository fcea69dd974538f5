//! The documents of an order in `staging/`: the record itself, and what is left of it when it is dropped.

use std::sync::Arc;

use crate::acme::{ChallengeSetup, OrderRecord, PortError, is_txt_value};
use crate::documents::{Documents, port_error};
use crate::log::report;
use crate::model::ManagedDomain;
use crate::store::{Aspect, Group};

/// The most set-ups of one order that are taken away in files.
const MOST_FILES: usize = 1000;

/// Returns the order that was begun; an empty one if there is none. Set-ups that are not for a name of the domain are left out: names
/// become arguments of commands, and whatever runs as the server's user could have written them.
#[must_use]
pub fn load(documents: &Documents, md: &ManagedDomain) -> OrderRecord {
    let mut order = load_all(documents, md.name.as_str());
    let before = order.challenge_setups.len();
    order.challenge_setups.retain(|token| ChallengeSetup::parse(token).is_none_or(|set_up| is_of(md, &set_up)));
    let left_out = before - order.challenge_setups.len();
    if left_out > 0 {
        report!(
            MD0027,
            "{}: order.json has {left_out} challenges for names that the domain does not have: no command is run for them",
            md.name
        );
    }
    order
}

fn load_all(documents: &Documents, name: &str) -> OrderRecord {
    documents.load_json(Group::Staging, name, &Aspect::OrderJson).unwrap_or_default()
}

/// Whether a set-up is for a name of the domain, with a value that a renewal can have made.
fn is_of(md: &ManagedDomain, set_up: &ChallengeSetup) -> bool {
    let is_own = md.domains.iter().any(|name| name.as_str().trim_start_matches("*.") == set_up.name);
    let has_value = match &set_up.txt {
        Some(txt) => is_txt_value(txt),
        None => !set_up.kind.answers_by_txt(),
    };
    is_own && has_value
}

/// Saves the order, or forgets it when it is empty. Only what commands have set up outlasts a power failure for sure: nobody else could
/// take it away. Of another order, the next run at worst makes a new one.
///
/// # Errors
/// If it cannot be written.
pub fn save(documents: &Documents, name: &str, order: &OrderRecord) -> Result<(), PortError> {
    if order.is_empty() {
        return documents.store().remove_lazily(Group::Staging, name, &Aspect::OrderJson).map_err(port_error);
    }
    match order.challenge_setups.iter().any(|token| ChallengeSetup::is_of_command(token)) {
        true => documents.save_json(Group::Staging, name, &Aspect::OrderJson, order),
        false => documents.save_json_lazily(Group::Staging, name, &Aspect::OrderJson, order),
    }
}

/// Takes away challenge data that is in files.
///
/// # Errors
/// If the store fails.
pub fn remove_files(documents: &Documents, tokens: &[String]) -> Result<(), PortError> {
    let set_ups =
        tokens.iter().filter_map(|token| ChallengeSetup::parse(token)).filter(|set_up| !set_up.kind.needs_command());
    let mut names = set_ups.map(|set_up| set_up.name).take(MOST_FILES);
    names.try_for_each(|name| documents.store().purge_lazily(Group::Challenges, &name).map_err(port_error))
}

/// Returns the part of an order that only commands can take away, when the rest is dropped where no command may run.
#[must_use]
pub fn left_over(order: &OrderRecord) -> OrderRecord {
    let of_commands = order.challenge_setups.iter().filter(|token| ChallengeSetup::is_of_command(token));
    let challenge_setups = of_commands.cloned().collect();
    OrderRecord { challenge_setups, ..OrderRecord::default() }
}

/// Takes away what the renewal of a domain has set up, and its order. No command is run: what one has set up stays in the
/// journal, until the domain is looked at by who may run them.
pub fn tear_down(documents: &Arc<Documents>, name: &str) -> Result<(), PortError> {
    let order = load_all(documents, name);
    remove_files(documents, &order.challenge_setups)?;
    save(documents, name, &left_over(&order))
}
