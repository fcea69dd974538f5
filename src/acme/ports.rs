//! The ports of the driver: a journal for one domain, the accounts of all domains, and a publisher of challenge data.

use super::{AccountRecord, AccountScope, ChallengeSetup, OrderRecord};
use crate::crypto::{Chain, PrivateKey};
use crate::model::{ChallengeRecord, KeySpec, Status, TxtRecord};

/// A failure behind a port, as a sentence that names the file or command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct PortError {
    /// Result code.
    pub status: Status,
    /// The sentence.
    pub text: String,
}

impl PortError {
    /// The problem type of a renewal that ends because the store failed. A command that fails ends a renewal as a challenge
    /// that cannot be set up.
    pub const PROBLEM: &str = "store-failure";
}

/// Why a chain is not saved.
#[derive(Debug, thiserror::Error)]
pub enum ChainRefused {
    /// The certificate is not what was ordered, for the reason in this sentence.
    #[error("{0}")]
    Unfit(String),
    /// The chain cannot be written.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// The part of a domain's renewal that survives restarts; unreadable data counts as absent. When a call returns that saves a key, a
/// chain, or an order whose challenges commands have set up, it outlasts a power failure, too. Only one driver at a time uses the journal of a domain.
pub trait Journal {
    /// Returns the order that was begun; an empty record if there is none.
    fn order(&self) -> OrderRecord;

    /// Saves the order, or forgets it when it [is empty](OrderRecord::is_empty).
    ///
    /// # Errors
    /// If it cannot be written.
    fn save_order(&mut self, order: &OrderRecord) -> Result<(), PortError>;

    /// Returns the new private key of that type, if it was made already.
    fn key(&mut self, spec: &KeySpec) -> Option<PrivateKey>;

    /// Saves a new private key.
    ///
    /// # Errors
    /// If it cannot be written.
    fn save_key(&mut self, spec: &KeySpec, key: &PrivateKey) -> Result<(), PortError>;

    /// Whether the new certificate of that type is stored: its chain verifies, for the domain and for the new key.
    fn has_chain(&self, spec: &KeySpec) -> bool;

    /// Saves the chain of a new certificate.
    ///
    /// # Errors
    /// If it cannot be written, or does not fit the domain and the key.
    fn save_chain(&mut self, spec: &KeySpec, chain: &Chain) -> Result<(), ChainRefused>;

    /// Whether an order may name the certificate with this identifier (RFC 9773 section 4.1) as the one that it replaces: the CA has
    /// not refused that, neither in this attempt nor in an earlier one.
    fn may_replace(&self, certificate: &str) -> bool;

    /// Records whether an order may name the certificate with this identifier as the one that it replaces.
    fn set_may_replace(&mut self, certificate: &str, may: bool);

    /// Returns which challenge types have failed.
    fn challenge_record(&self) -> ChallengeRecord;

    /// Records which challenge types have failed. The record is saved with the report.
    fn record_challenges(&mut self, record: &ChallengeRecord);

    /// Records the current activity, for the status pages.
    fn progress(&mut self, activity: &str);

    /// Records an activity that may take long: the status pages show it from now on.
    fn lasting_progress(&mut self, activity: &str) {
        self.progress(activity);
    }

    /// Records the TXT records that the administrator must have in the DNS, for the status pages.
    fn needs_records(&mut self, records: &[TxtRecord]);

    /// Runs the event commands for a challenge that is in place. The CA has not been told yet.
    ///
    /// # Errors
    /// If a command objects: the challenge must not be used then.
    fn challenge_in_place(&mut self, set_up: &ChallengeSetup) -> Result<(), PortError>;

    /// Runs the event commands for a challenge that is taken away. Their objections do not count.
    ///
    /// # Errors
    /// Only if this process stops before the commands have run.
    fn challenge_taken_away(&mut self, set_up: &ChallengeSetup) -> Result<(), PortError>;
}

/// The exclusive right to register accounts of one scope; given back when dropped.
pub type AccountClaim = Box<dyn Send>;

/// An account that is not used any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// URL of the account.
    pub url: String,
    /// The words of the CA.
    pub why: String,
}

/// The accounts that all domains share. Many drivers may use them at a time.
pub trait AccountBook: Send + Sync {
    /// Claims a scope, so that renewals that start together register one account: look again before registering. `None` if
    /// another renewal has the claim.
    ///
    /// # Errors
    /// If the claim cannot be asked for.
    fn claim(&self, scope: &AccountScope) -> Result<Option<AccountClaim>, PortError>;

    /// Returns a usable account of that scope, with its key. Cheap when it was found before.
    fn find(&self, scope: &AccountScope) -> Option<(AccountRecord, PrivateKey)>;

    /// Returns the key of a registration that was not finished, or a new key. The key is durable when the call returns, so
    /// that an interrupted registration finds the account that the CA may have made for it.
    ///
    /// # Errors
    /// If it cannot be made or written.
    fn draft_key(&self, scope: &AccountScope) -> Result<PrivateKey, PortError>;

    /// Drops the key of a registration that was not finished: the CA has an account with it, which has ended. The next
    /// registration gets a new key.
    ///
    /// # Errors
    /// If it cannot be removed.
    fn drop_draft_key(&self, scope: &AccountScope) -> Result<(), PortError>;

    /// Adds the account that was registered with `key`, the drafted one. The account is durable when the call returns.
    ///
    /// # Errors
    /// If it cannot be written.
    fn add(&self, account: &AccountRecord, key: &PrivateKey) -> Result<(), PortError>;

    /// Returns other keys that the account may have by now: a program beside the server may have changed it and been cut
    /// short. Only asked for where the CA does not take the key that was found.
    fn other_keys(&self, account: &AccountRecord, refused: &PrivateKey) -> Vec<PrivateKey>;

    /// Replaces the key of an account by the one that the CA takes.
    fn change_key(&self, account: &AccountRecord, key: &PrivateKey);

    /// Gives up an account that the CA does not have any more. The account is not found again.
    ///
    /// # Errors
    /// If it cannot be written.
    fn forget(&self, account: &AccountRecord, why: &str) -> Result<(), PortError>;

    /// Returns the accounts of that scope that were given up since the last call, so that each is told of once.
    fn given_up(&self, scope: &AccountScope) -> Vec<GivenUp>;
}

/// The outcome of a call that cannot wait for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The call has done its work.
    Done,
    /// Others are at it: call again later.
    Busy,
}

/// Puts challenge data where the CA will look. May block for as long as a command takes.
pub trait Publisher {
    /// Prepares to publish. Busy while somebody else publishes for that name or runs a command.
    ///
    /// # Errors
    /// If challenges of this type cannot be published here; nothing has to be withdrawn then.
    fn reserve(&mut self, set_up: &ChallengeSetup) -> Result<Attempt, PortError>;

    /// Publishes the answer to the challenge, after [`Publisher::reserve`]; when this returns the CA may look. Publishing again
    /// replaces the answer.
    ///
    /// # Errors
    /// If it cannot be published. Part of the answer may be in place, and must be withdrawn.
    fn publish(&mut self, set_up: &ChallengeSetup, key_authorization: &str) -> Result<(), PortError>;

    /// Withdraws the answer; an absent one is fine. Busy while somebody else runs a command.
    ///
    /// # Errors
    /// If the store fails, or this server stops before it is done.
    fn withdraw(&mut self, set_up: &ChallengeSetup) -> Result<Attempt, PortError>;
}
