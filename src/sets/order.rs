//! The documents of an order in `staging/`: the record itself, and what is left of it when it is dropped.

use std::sync::Arc;

use crate::acme::{ChallengeSetup, OrderRecord, PortError};
use crate::documents::{Documents, port_error};
use crate::store::{Aspect, Group};

/// The order that was begun; an empty one if there is none.
#[must_use]
pub fn load(documents: &Documents, name: &str) -> OrderRecord {
    documents.load_json(Group::Staging, name, &Aspect::OrderJson).unwrap_or_default()
}

/// Saves the order, or forgets it when it is empty.
///
/// # Errors
/// If it cannot be written.
pub fn save(documents: &Documents, name: &str, order: &OrderRecord) -> Result<(), PortError> {
    if order.is_empty() {
        return documents.store().remove(Group::Staging, name, &Aspect::OrderJson).map_err(port_error);
    }
    documents.save_json(Group::Staging, name, &Aspect::OrderJson, order)
}

/// Takes away challenge data that is in files.
///
/// # Errors
/// If the store fails.
pub fn remove_files(documents: &Documents, tokens: &[String]) -> Result<(), PortError> {
    let set_ups =
        tokens.iter().filter_map(|token| ChallengeSetup::parse(token)).filter(|set_up| !set_up.kind.needs_command());
    let mut names = set_ups.map(|set_up| set_up.name);
    names.try_for_each(|name| documents.store().purge(Group::Challenges, &name).map_err(port_error))
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
    let order = load(documents, name);
    remove_files(documents, &order.challenge_setups)?;
    save(documents, name, &left_over(&order))
}
