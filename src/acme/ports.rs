//! What the driver needs from outside: a journal for one domain, the accounts of all, and a place for challenge data.

use super::{AccountRecord, AccountScope, OrderRecord, SetUp};
use crate::crypto::{Chain, PrivateKey};
use crate::model::{KeySpec, Status, TxtRecord};

/// A failure behind a port, told in a sentence that names the file or command.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct PortError {
    /// Result code.
    pub status: Status,
    /// The sentence.
    pub text: String,
}

impl PortError {
    /// The type of the problem when a renewal ends with one: the store failed. A command that fails ends a renewal as a
    /// challenge that is not set up.
    pub const PROBLEM: &str = "store-failure";
}

/// Why a chain is not saved.
#[derive(Debug, thiserror::Error)]
pub enum ChainRefused {
    /// It is not what was ordered: for this reason, a sentence.
    #[error("{0}")]
    Unfit(String),
    /// It cannot be written.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// What survives of one domain's renewal. What is saved is durable when the call returns; what cannot be read counts
/// as absent. Only one driver at a time uses the journal of a domain.
pub trait Journal {
    /// The order that was begun; an empty one if there is none.
    fn order(&self) -> OrderRecord;

    /// Saves the order, or forgets it when it [is empty](OrderRecord::is_empty).
    ///
    /// # Errors
    /// If it cannot be written.
    fn save_order(&mut self, order: &OrderRecord) -> Result<(), PortError>;

    /// The new private key of that type, if it was made already.
    fn key(&self, spec: &KeySpec) -> Option<PrivateKey>;

    /// Saves a new private key.
    ///
    /// # Errors
    /// If it cannot be written.
    fn save_key(&mut self, spec: &KeySpec, key: &PrivateKey) -> Result<(), PortError>;

    /// Whether the new certificate of that type is here: its chain verifies, for the domain and for the new key.
    fn has_chain(&self, spec: &KeySpec) -> bool;

    /// Saves the chain of a new certificate.
    ///
    /// # Errors
    /// If it cannot be written, or does not fit the domain and the key.
    fn save_chain(&mut self, spec: &KeySpec, chain: &Chain) -> Result<(), ChainRefused>;

    /// Notes what is being done, for those who watch.
    fn progress(&mut self, activity: &str);

    /// Notes the TXT records that the administrator has to have in the DNS, for those who watch.
    fn needs_records(&mut self, records: &[TxtRecord]);

    /// Tells those who want to know that a challenge is in place. The CA has not been told yet.
    ///
    /// # Errors
    /// If one of them objects: the challenge is of no use then.
    fn challenge_in_place(&mut self, set_up: &SetUp) -> Result<(), PortError>;

    /// Tells those who want to know that what answered a challenge is taken away. Their objections do not count.
    ///
    /// # Errors
    /// Only if this process stops before they were told.
    fn challenge_taken_away(&mut self, set_up: &SetUp) -> Result<(), PortError>;
}

/// The exclusive right to register accounts of one scope; given back when dropped.
pub type AccountClaim = Box<dyn Send>;

/// The accounts that all domains share. May be used by many drivers at a time.
pub trait AccountBook: Send + Sync {
    /// Claims a scope, so that all who start together make one account: look again before registering. `None`: somebody
    /// else is at it.
    ///
    /// # Errors
    /// If the claim cannot be asked for.
    fn claim(&self, scope: &AccountScope) -> Result<Option<AccountClaim>, PortError>;

    /// A usable account of that scope, with its key. Cheap when it was found before.
    fn find(&self, scope: &AccountScope) -> Option<(AccountRecord, PrivateKey)>;

    /// The key for a registration that was not finished, or a new one. It is durable when the call returns, so that a
    /// registration that was cut short finds the account that the CA may have made for it.
    ///
    /// # Errors
    /// If it cannot be made or written.
    fn draft_key(&self, scope: &AccountScope) -> Result<PrivateKey, PortError>;

    /// Adds the account that was registered with `key`, the drafted one. It is durable when the call returns.
    ///
    /// # Errors
    /// If it cannot be written.
    fn add(&self, account: &AccountRecord, key: &PrivateKey) -> Result<(), PortError>;

    /// Other keys that an account may have by now: it is changed beside the server, by a program that may have been cut
    /// short. Only asked for where the CA does not take the key that was found.
    fn other_keys(&self, account: &AccountRecord, refused: &PrivateKey) -> Vec<PrivateKey>;

    /// Takes another key for an account from now on: the CA does.
    fn change_key(&self, account: &AccountRecord, key: &PrivateKey);

    /// Marks an account as one that the CA does not take any more.
    ///
    /// # Errors
    /// If it cannot be written.
    fn forget(&self, account: &AccountRecord) -> Result<(), PortError>;
}

/// Puts challenge data where the CA will look. May block for as long as a command takes.
pub trait Publisher {
    /// Gets ready to publish. `false`: not now, as somebody else publishes for that name or runs a command; ask again.
    ///
    /// # Errors
    /// If challenges of this type cannot be published here; nothing has to be withdrawn then.
    fn reserve(&mut self, set_up: &SetUp) -> Result<bool, PortError>;

    /// Publishes what answers the challenge, after [`Publisher::reserve`]; when this returns the CA may look. Publishing
    /// again replaces.
    ///
    /// # Errors
    /// If it cannot be published. Part of it may be, and has to be withdrawn.
    fn publish(&mut self, set_up: &SetUp, key_authorization: &str) -> Result<(), PortError>;

    /// Takes away what was published. What is gone already is fine. `false`: not now; ask again.
    ///
    /// # Errors
    /// If the store fails, or this server stops before it is done.
    fn withdraw(&mut self, set_up: &SetUp) -> Result<bool, PortError>;
}
