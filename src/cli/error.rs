//! Why a command failed, with its result code and the way it is told.

use crate::acme::{AcmeError, PortError};
use crate::log::note;
use crate::model::Status;
use crate::store::StoreError;

/// A failure of a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// There is no such command.
    #[error("unknown cmd: {0}")]
    UnknownCommand(String),
    /// The command does not make sense without more words.
    #[error("{0}")]
    Usage(&'static str),
    /// The command works on a store, and none was named.
    #[error("need store directory for command: {0}")]
    NoStore(String),
    /// The command talks to a CA, and none was named.
    #[error("need ACME server url (-a) for command: {0}")]
    NoCa(String),
    /// No domain has this name.
    #[error("managed domain not found: {0}")]
    NotListed(String),
    /// There is no domain to change or renew.
    #[error("managed domain not found: {0}")]
    NoDomain(String),
    /// There is no such account in the store.
    #[error("unknown account: {0}")]
    UnknownAccount(String),
    /// A part of a domain that cannot be changed.
    #[error("unknown aspect: {0}")]
    UnknownAspect(String),
    /// A value is wrong, or cannot be used here.
    #[error("{text}")]
    Refused {
        /// Result code.
        status: Status,
        /// What is wrong.
        text: String,
    },
    /// The CA, or the way to it.
    #[error("{what}")]
    Acme {
        /// What was tried.
        what: String,
        /// What came of it.
        source: Box<AcmeError>,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store, through the registry.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The reason was told where it was found.
    #[error("failed")]
    Told(Status),
}

impl CliError {
    /// A value that makes no sense.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Refused { status: Status::INVALID, text: text.into() }
    }

    /// The failure of what was tried at a CA.
    pub fn acme(what: impl Into<String>) -> impl Fn(AcmeError) -> Self {
        let what = what.into();
        move |source| Self::Acme { what: what.clone(), source: Box::new(source) }
    }

    /// The result code.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::NotListed(_) | Self::NoDomain(_) | Self::UnknownAccount(_) => Status::NOT_FOUND,
            Self::UnknownAspect(_) => Status::UNSUPPORTED,
            Self::Refused { status, .. } | Self::Told(status) => *status,
            Self::Acme { source, .. } => source.status(),
            Self::Store(err) => err.status(),
            Self::Port(err) => err.status,
            _ => Status::INVALID,
        }
    }

    /// Tells it: as a line that scripts know, or as a message of the log.
    pub fn tell(&self) {
        match self {
            Self::Told(_) => {}
            Self::NoDomain(_) => note!(Info, self.status(); "{self}"),
            Self::Acme { source, .. } => {
                match &**source {
                    AcmeError::Problem { problem, .. } => {
                        note!(Warning, self.status(); "acme problem {}: {}", problem.kind, problem.detail);
                    }
                    other => note!(Warning, self.status(); "{}", other.sentence()),
                }
                note!(Error, self.status(); "{self}");
            }
            Self::Refused { .. } | Self::Store(_) | Self::Port(_) => note!(Error, self.status(); "{self}"),
            _ => super::output::say(&self.to_string()),
        }
    }
}
