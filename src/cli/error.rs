//! The failures of commands, with their result codes and messages.

use super::output::Terminal;
use super::unknown::Unknown;
use crate::acme::{AcmeError, PortError};
use crate::documents::Documents;
use crate::log::Level;
use crate::model::{JobResult, Status};
use crate::store::{Group, StoreError};

/// A failure of a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// An unknown command.
    #[error("unknown cmd: {0}")]
    UnknownCommand(Unknown),
    /// Too few or too many arguments.
    #[error("{0}")]
    Usage(&'static str),
    /// A missing `-d`, and no store where it usually is.
    #[error("need store directory for command: {0}; name it by -d or in A2MD_DIR: it is the value of MDStoreDir")]
    NoDirectory(String),
    /// A directory without a store.
    #[error("no store in {dir}; {option} has to name the directory that MDStoreDir names")]
    NoStore {
        /// The directory.
        dir: String,
        /// The option or the variable that names it.
        option: &'static str,
    },
    /// A missing `-a`.
    #[error("need ACME server url (-a) for command: {0}")]
    NoCa(String),
    /// A name to list that no domain has.
    #[error("managed domain not found: {0}")]
    NotListed(Unknown),
    /// A domain to change or renew that does not exist.
    #[error("managed domain not found: {0}")]
    NoDomain(Unknown),
    /// An account that the store does not have.
    #[error("unknown account: {0}")]
    UnknownAccount(Unknown),
    /// A setting that `update` does not know.
    #[error("unknown setting: {0}")]
    UnknownSetting(Unknown),
    /// A wrong value, or a request that is refused.
    #[error("{text}")]
    Refused {
        /// The result code.
        status: Status,
        /// The reason.
        text: String,
    },
    /// A failed request to the CA.
    #[error("{what}")]
    Acme {
        /// The action that failed.
        what: String,
        /// The cause.
        source: Box<AcmeError>,
    },
    /// A failure of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A failure of the store below the registry.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A failure whose reason is printed already.
    #[error("failed")]
    Reported(Box<JobResult>),
}

impl CliError {
    /// Makes the error for a name that no domain of the store has.
    pub fn no_domain(documents: &Documents, name: &str) -> Self {
        let known = documents.store().list(Group::Domains).unwrap_or_default();
        Self::NoDomain(Unknown::among(name, known.iter().map(String::as_str)))
    }

    /// Makes the error for a wrong value.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Refused { status: Status::INVALID, text: text.into() }
    }

    /// Makes errors for an action at a CA.
    pub fn acme(what: impl Into<String>) -> impl Fn(AcmeError) -> Self {
        let what = what.into();
        move |source| Self::Acme { what: what.clone(), source: Box::new(source) }
    }

    /// Returns the result code.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::NotListed(_) | Self::NoDomain(_) | Self::UnknownAccount(_) | Self::NoStore { .. } => {
                Status::NOT_FOUND
            }
            Self::UnknownSetting(_) => Status::UNSUPPORTED,
            Self::Refused { status, .. } => *status,
            Self::Reported(failure) => failure.status,
            Self::Acme { source, .. } => source.status(),
            Self::Store(err) => err.status(),
            Self::Port(err) => err.status,
            _ => Status::INVALID,
        }
    }

    /// Makes the error of an action whose reason is printed already.
    pub fn reported(failure: JobResult) -> Self {
        Self::Reported(Box::new(failure))
    }

    /// Returns the problem type. Programs read these names, so they stay as they are; docs/monitoring.md lists them.
    fn problem(&self) -> &'static str {
        match self {
            Self::UnknownCommand(_) | Self::Usage(_) | Self::NoDirectory(_) | Self::NoCa(_) => "usage",
            Self::NotListed(_) | Self::NoDomain(_) | Self::UnknownAccount(_) | Self::NoStore { .. } => "not-found",
            Self::Store(_) | Self::Port(_) => PortError::PROBLEM,
            _ => "refused",
        }
    }

    /// Returns the result for the JSON document.
    #[must_use]
    pub fn to_result(&self) -> JobResult {
        match self {
            Self::Reported(failure) => (**failure).clone(),
            Self::Acme { what, source } => {
                JobResult { detail: Some(format!("{what}: {}", source.sentence())), ..source.to_result() }
            }
            _ => JobResult::failure(self.status(), self.problem(), self.to_string()),
        }
    }

    /// Returns a sentence for a person, with the remedy.
    fn sentence(&self) -> String {
        let or = |unknown: &Unknown, remedy: &str| match unknown.near {
            Some(_) => unknown.to_string(),
            None => format!("{unknown}{remedy}"),
        };
        match self {
            Self::UnknownCommand(name) => format!("there is no command {}", or(name, "; 'a2md help' lists all")),
            Self::NotListed(name) | Self::NoDomain(name) => {
                format!("there is no managed domain {}", or(name, "; 'a2md list' shows all"))
            }
            Self::UnknownSetting(name) => {
                format!("there is no setting {}", or(name, "; 'a2md help update' lists all"))
            }
            Self::UnknownAccount(id) => format!("there is no account {}", or(id, " in the store")),
            Self::NoCa(command) => {
                format!("'a2md {command}' needs the URL of an ACME server; name it by -a")
            }
            Self::NoDirectory(_) => {
                "there is no store where one usually is; name its directory, the value of MDStoreDir, by -d or in A2MD_DIR"
                    .to_owned()
            }
            Self::Acme { what, source } => format!("{what}: {}", source.sentence()),
            _ => self.to_string(),
        }
    }

    /// Prints the error: for a person as one sentence, else as a line that scripts know, or as a message of the log.
    pub fn print(&self, terminal: &dyn Terminal) {
        if terminal.is_plain() && !matches!(self, Self::Reported(_)) {
            return terminal.message(Level::Error, self.status(), &self.sentence());
        }
        let message = |level, text: String| terminal.message(level, self.status(), &text);
        match self {
            Self::Reported(_) => {}
            Self::NoDomain(_) => message(Level::Info, self.to_string()),
            Self::Acme { source, .. } => {
                match &**source {
                    AcmeError::Problem { problem, .. } => {
                        message(Level::Warning, format!("acme problem {}: {}", problem.kind, problem.detail));
                    }
                    other => message(Level::Warning, other.sentence().to_string()),
                }
                message(Level::Error, self.to_string());
            }
            Self::Refused { .. } | Self::Store(_) | Self::Port(_) => message(Level::Error, self.to_string()),
            _ => terminal.say(&self.to_string()),
        }
    }
}
