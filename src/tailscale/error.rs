//! Errors of tailscaled, and advice for the administrator.

use std::io::ErrorKind;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::crypto::{ChainError, CryptoError};
use crate::http::HttpError;
use crate::model::{Status, time};

/// Why tailscaled gives no certificate. The text is a sentence for the administrator.
#[derive(Debug, thiserror::Error)]
#[error("no certificate from tailscaled at {}: {cause}", .socket.display())]
pub struct TailscaleError {
    /// The socket of the daemon.
    pub socket: PathBuf,
    /// The cause.
    pub cause: Cause,
}

/// The cause of a [`TailscaleError`].
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The request got no answer.
    #[error(transparent)]
    Transport(#[from] HttpError),
    /// The daemon refuses.
    #[error("the daemon answered with status {status}: {says}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The daemon's message.
        says: String,
        /// The daemon does not want to be asked before this moment.
        retry_after: Option<Timestamp>,
    },
    /// The answer has no key.
    #[error("the daemon's key cannot be used: {0}")]
    Key(CryptoError),
    /// The answer has no certificate.
    #[error("the daemon's certificate cannot be used: {0}")]
    Chain(ChainError),
    /// The key does not fit the certificate.
    #[error("the daemon's key and certificate do not match")]
    WrongKey,
    /// The key is not of the type that the daemon has made so far.
    #[error("the daemon's key is not of the type {0}")]
    OtherKey(&'static str),
    /// The certificate is not what the domain needs.
    #[error("{0}")]
    Unfit(String),
    /// The daemon gives the certificate that is in use already.
    #[error("the daemon still has the certificate that is in use, which ends at {}", time::format_gmt(*.0))]
    NotNewer(Timestamp),
    /// The domain has several names.
    #[error("the daemon obtains certificates for one name, but the domain has {0}")]
    Names(usize),
}

impl TailscaleError {
    /// Returns the result code to report.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.cause {
            Cause::Transport(source) => source.status(),
            Cause::Refused { status: 403, .. } => Status::DENIED,
            Cause::Refused { status: 404, .. } => Status::NOT_FOUND,
            Cause::Refused { status: 429, .. } | Cause::NotNewer(_) => Status::AGAIN,
            Cause::Refused { .. } => Status::GENERAL,
            _ => Status::INVALID,
        }
    }

    /// Returns the problem type. Monitoring reads these names, so they stay as they are.
    #[must_use]
    pub fn problem(&self) -> &'static str {
        match &self.cause {
            Cause::Transport(source) => source.problem(),
            Cause::Refused { .. } => "tailscale-refused",
            Cause::Key(_) | Cause::Chain(_) | Cause::WrongKey | Cause::OtherKey(_) | Cause::Unfit(_) => {
                "certificate-unusable"
            }
            Cause::NotNewer(_) => "tailscale-not-newer",
            Cause::Names(_) => "tailscale-names",
        }
    }

    /// Returns the moment before which the daemon does not want to be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Timestamp> {
        match &self.cause {
            Cause::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether this server cancelled the request.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(&self.cause, Cause::Transport(source) if source.is_cancelled())
    }

    /// Returns advice for the administrator.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match &self.cause {
            Cause::Transport(HttpError::Socket { reason, .. }) => Some(match reason.kind() {
                ErrorKind::NotFound => {
                    "check that tailscaled is installed and runs, and that MDCertificateAuthority names its socket"
                }
                ErrorKind::PermissionDenied => {
                    "the User of the server must be able to reach and write the socket: check the modes of its directories, and SELinux"
                }
                _ => "check that tailscaled runs: 'systemctl status tailscaled'",
            }),
            Cause::Transport(HttpError::TimedOut { .. }) => {
                Some("check the log of tailscaled ('journalctl -u tailscaled'); the next attempt follows")
            }
            Cause::Transport(source) if source.is_cancelled() => None,
            Cause::Transport(_) => {
                Some("check that MDCertificateAuthority is the socket of tailscaled; the next attempt follows")
            }
            Cause::Refused { status, says, .. } => Some(advice_on(*status, says)),
            Cause::Key(_) | Cause::Chain(_) | Cause::WrongKey => Some(
                "check whether 'tailscale cert' gives a valid pair, and the log of tailscaled; the next attempt follows",
            ),
            Cause::OtherKey(_) => Some("check whether there is a newer version of this module"),
            Cause::Unfit(_) => {
                Some("check that the domain has the name that 'tailscale status' shows, and MDMustStaple off")
            }
            Cause::NotNewer(_) => Some(
                "a tailscaled that does not know 'min_validity' renews by itself, some weeks before the end: update it; it is \
                 tried again",
            ),
            Cause::Names(_) => Some(
                "give the domain the one name that 'tailscale status' shows, and 'MDMembers manual' where hosts have more",
            ),
        }
    }
}

/// Messages of the daemon on which the administrator must act, with the advice.
const ADVICE: [(u16, &str, &str); 7] = [
    (
        403,
        "cert access denied",
        "permit the User of the server to obtain certificates: TS_PERMIT_CERT_UID=www-data in /etc/default/tailscaled and a restart of \
         tailscaled, or 'tailscale set --operator=www-data', which permits more",
    ),
    (404, "", "this tailscaled is too old for certificates, or was built without them: update it"),
    (429, "", "the CA behind tailscaled wants fewer requests; the next attempt follows"),
    (
        500,
        "does not support getting TLS certs",
        "switch on MagicDNS and HTTPS certificates on the DNS page of the network's admin console",
    ),
    (
        500,
        "invalid domain",
        "MDomain and ServerName must be the name of this machine in the network, as 'tailscale status' shows it",
    ),
    (
        500,
        "wildcard certificates are not enabled",
        "configure the name of this machine only, or enable wildcard certificates in the network",
    ),
    (500, "no netmap", "check that this machine is in the network: 'tailscale status', 'tailscale up'"),
];

fn advice_on(status: u16, says: &str) -> &'static str {
    let known = ADVICE.iter().find(|(of, words, _)| *of == status && says.contains(words));
    known
        .map_or("check the log of tailscaled ('journalctl -u tailscaled'); the next attempt follows", |(.., advice)| {
            advice
        })
}
