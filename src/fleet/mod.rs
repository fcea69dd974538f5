//! The meeting point of the nodes of a fleet: one engine, through which they tell each other what they have, and agree on who
//! works on what.
//!
//! This room knows neither certificates nor domains: records are bytes under a key, sealed by [`Seal`] before they leave a node.
#![forbid(unsafe_code)]

#[cfg(test)]
mod memory;
mod redis;
mod sealed;
mod suite;
mod wire;

use std::fmt;
use std::time::Duration;

use crate::cancel::Cancel;

#[cfg(test)]
pub use memory::{Engine, MemoryMeeting};
pub use redis::{Facts, RedisMeeting};
pub use sealed::{Seal, SealError};
pub use suite::{Failed, run as run_suite};
pub use wire::{Address, Login, Tls};

/// How long a session lives after its last beat.
pub const SESSION: Duration = Duration::from_secs(15);
/// Time between two beats.
pub const BEAT: Duration = Duration::from_secs(5);
/// How much earlier a node takes its session for over than the engine does.
pub const MARGIN: Duration = Duration::from_secs(3);
/// Longest time of a call.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The largest record, in bytes.
pub const LARGEST_RECORD: usize = 1 << 20;
/// The format of records that this release writes.
pub const FORMAT: u32 = 1;

/// The number of a change; each change has a greater one than all before, as long as the engine remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Revision(pub u64);

/// The number of a claim; each claim has a greater one than all before, also after the engine has lost its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Fence(pub u64);

/// The name of a record or claim: its kind and what it is about, e.g. `cert/www.example.org`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Makes the key of a record or claim.
    #[must_use]
    pub fn new(kind: &str, name: &str) -> Self {
        Self(format!("{kind}/{name}"))
    }

    /// Reads the key that an engine has returned.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_whole = text.split_once('/').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty());
        (is_whole && text.len() <= 512 && !text.contains(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind, e.g. `cert`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.split_once('/').map_or("", |(kind, _)| kind)
    }

    /// The name below its kind, e.g. `www.example.org`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The life of a node's agent. Another process of the node has another session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The name of the node (`MDFleetNode`).
    pub node: String,
    /// Random characters that no other session has.
    pub id: String,
    /// The release that the node runs.
    pub version: String,
    /// The newest format of records that the node can read.
    pub format: u32,
    /// Number of managed domains of the node.
    pub domains: u32,
}

impl Session {
    /// The name of the session, which no other session has.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}#{}", self.node, self.id)
    }
}

/// A session that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The session.
    pub session: Session,
    /// The revision up to which its node has applied all changes.
    pub applied: Revision,
}

/// What all nodes have in common, as one beat of a session found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    /// Names the memory of the engine; another name means that it has forgotten everything.
    pub epoch: String,
    /// The newest revision.
    pub revision: Revision,
    /// The name of the session that has the claim `driver/`, if it lives.
    pub driver: Option<String>,
    /// All sessions that live, this one included.
    pub sessions: Vec<Live>,
}

/// A claim of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What is claimed.
    pub key: Key,
    /// The name of the session.
    pub session: String,
    /// The number of the claim.
    pub fence: Fence,
}

/// A record as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The revision at which it was written.
    pub revision: Revision,
    /// The claim under which it was written; 0 for none.
    pub fence: Fence,
    /// The sealed content.
    pub bytes: Vec<u8>,
}

/// What has changed since a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// These keys, in the order of their revisions; `true` for a key that is gone.
    Keys(Vec<(Key, Revision, bool)>),
    /// The engine does not know any more: everything may have changed.
    Everything,
}

/// A record to write.
#[derive(Debug)]
pub struct Put<'a> {
    /// The key.
    pub key: &'a Key,
    /// The sealed content.
    pub bytes: &'a [u8],
    /// Write only if the record there has this revision; `Some(0)` if there must be none.
    pub over: Option<Revision>,
    /// Write only while this claim is had by a session that lives.
    pub held: Option<&'a Held>,
    /// The record vanishes after this time.
    pub life: Option<Duration>,
}

impl<'a> Put<'a> {
    /// Writes without conditions.
    #[must_use]
    pub fn new(key: &'a Key, bytes: &'a [u8]) -> Self {
        Self { key, bytes, over: None, held: None, life: None }
    }

    /// Writes only if the record there has this revision.
    #[must_use]
    pub fn over(self, revision: Revision) -> Self {
        Self { over: Some(revision), ..self }
    }

    /// Writes only under this claim.
    #[must_use]
    pub fn under(self, held: &'a Held) -> Self {
        Self { held: Some(held), ..self }
    }

    /// Has the record vanish after a time.
    #[must_use]
    pub fn living(self, life: Duration) -> Self {
        Self { life: Some(life), ..self }
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeetingError {
    /// The engine did not answer in time. The call may have had its effect.
    #[error("{0}")]
    Away(String),
    /// The engine refuses the call, for this reason.
    #[error("{0}")]
    Refused(String),
    /// The session is over, or the claim is had by another session.
    #[error("the session or the claim is lost")]
    Lost,
}

/// An engine at which nodes meet.
///
/// Each call ends within [`PATIENCE`]. A call that ended with [`MeetingError::Away`] may have had its effect: all calls can be
/// repeated. No call waits and tries again by itself, and none compares clocks of two machines.
pub trait Meeting: Send {
    /// Begins the session or prolongs its life, and returns what all nodes have in common. `applied` is the revision up to which
    /// this node has applied all changes.
    ///
    /// # Errors
    /// See [`MeetingError`].
    fn beat(&mut self, session: &Session, applied: Revision) -> Result<Pulse, MeetingError>;

    /// Ends a session: its claims are free at once.
    ///
    /// # Errors
    /// See [`MeetingError`].
    fn leave(&mut self, session: &str) -> Result<(), MeetingError>;

    /// Claims a key for a session, also one that it has already; `None` if another session that lives has it.
    ///
    /// # Errors
    /// [`MeetingError::Lost`] if the session is over.
    fn claim(&mut self, key: &Key, session: &Session) -> Result<Option<Held>, MeetingError>;

    /// Gives a claim back. Another session's claim stays.
    ///
    /// # Errors
    /// See [`MeetingError`].
    fn free(&mut self, held: &Held) -> Result<(), MeetingError>;

    /// Reads a record.
    ///
    /// # Errors
    /// See [`MeetingError`].
    fn get(&mut self, key: &Key) -> Result<Option<Record>, MeetingError>;

    /// Writes a record, and returns its revision; `None` if the record there is not the one that [`Put::over`] names.
    ///
    /// # Errors
    /// [`MeetingError::Lost`] if the claim is not had any more.
    fn put(&mut self, put: &Put<'_>) -> Result<Option<Revision>, MeetingError>;

    /// Removes a record, if there is one.
    ///
    /// # Errors
    /// [`MeetingError::Lost`] if the claim is not had any more.
    fn remove(&mut self, key: &Key, held: Option<&Held>) -> Result<(), MeetingError>;

    /// Returns what has changed after a revision.
    ///
    /// # Errors
    /// See [`MeetingError`].
    fn changes(&mut self, epoch: &str, since: Revision) -> Result<Changes, MeetingError>;

    /// Returns when something has changed after a revision, or after this time. A notice that is lost costs a second.
    ///
    /// # Errors
    /// See [`MeetingError`].
    fn wait(&mut self, since: Revision, most: Duration, cancel: &Cancel) -> Result<(), MeetingError>;
}
