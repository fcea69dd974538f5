//! Errors of requests.

use std::io;
use std::path::PathBuf;

use super::budget::Limit;
use super::proxy::DIRECTIVE;
use crate::model::Status;

/// The part of the configuration of a proxy that is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyFault {
    /// The proxy's certificate is not trusted.
    Trust,
    /// The proxy does not accept the user and password, or the URL has none.
    Login,
}

/// Why a request has no complete answer. The text is a sentence for the log.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is not valid, or not of `http` or `https`.
    #[error("'{url}' is not a URL to send requests to: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// Why it is refused.
        reason: String,
    },
    /// The name of the host cannot be resolved.
    #[error("the name of {host} cannot be resolved: {reason}")]
    Resolve {
        /// Host of the URL.
        host: String,
        /// Curl's message.
        reason: String,
    },
    /// The connection failed.
    #[error("no connection to {host}: {reason}")]
    Connect {
        /// Host of the URL.
        host: String,
        /// Curl's message.
        reason: String,
        /// The system's error; [`Status::GENERAL`] if it is not known.
        status: Status,
    },
    /// The connection to a Unix domain socket failed.
    #[error("no connection to the socket {}: {reason}", .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The system's message.
        reason: io::Error,
    },
    /// The proxy cannot be used.
    #[error("the proxy {proxy} of {source_name} cannot be used: {reason}")]
    Proxy {
        /// Host and port of the proxy.
        proxy: String,
        /// The directive, or the variable of the environment, that names it.
        source_name: &'static str,
        /// Curl's message.
        reason: String,
        /// The system's error; [`Status::GENERAL`] if it is not known.
        status: Status,
        /// The part of the configuration that is at fault, if it is known.
        fault: Option<ProxyFault>,
    },
    /// The TLS connection failed for a reason other than the certificate.
    #[error("no TLS connection to {host}: {reason}")]
    Tls {
        /// Host of the URL.
        host: String,
        /// Curl's message.
        reason: String,
    },
    /// The certificate of the host is not trusted.
    #[error(
        "the certificate of {host} is not trusted: {reason}; if it was issued by a CA of your own, name its root certificate in \
         MDCACertificateFile"
    )]
    Certificate {
        /// Host of the URL.
        host: String,
        /// Curl's message.
        reason: String,
    },
    /// A configured file of trusted CAs cannot be used.
    #[error("the file {} of trusted CAs cannot be used: {reason}; the user that the server runs as must be able to read it", .path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// The answer was not complete in time, or the transfer stalled.
    #[error("the request to {host} timed out: {reason}")]
    TimedOut {
        /// Host of the URL.
        host: String,
        /// Curl's message.
        reason: String,
    },
    /// The answer is too long.
    #[error("the answer from {host} has more than {limit}")]
    TooLarge {
        /// Host of the URL.
        host: String,
        /// The limit that the answer exceeds.
        limit: Limit,
    },
    /// The server cancelled the request.
    #[error("the request was cancelled")]
    Cancelled,
    /// The request failed for any other reason, such as a broken connection.
    #[error("the request to {host} failed: {reason}")]
    Other {
        /// Host of the URL.
        host: String,
        /// Curl's message.
        reason: String,
    },
}

impl HttpError {
    /// Returns the result code to report.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Url { .. } => Status::INVALID,
            Self::Socket { reason, .. } if reason.kind() == io::ErrorKind::NotFound => Status::NOT_FOUND,
            Self::Socket { reason, .. } if reason.kind() == io::ErrorKind::PermissionDenied => Status::DENIED,
            Self::Socket { .. } => Status::REFUSED,
            Self::Connect { status, .. } | Self::Proxy { status, .. } => *status,
            Self::Tls { .. } => Status::ABORTED,
            Self::TimedOut { .. } => Status::TIMED_OUT,
            Self::Cancelled => Status::AGAIN,
            Self::Resolve { .. }
            | Self::Certificate { .. }
            | Self::CaFile { .. }
            | Self::TooLarge { .. }
            | Self::Other { .. } => Status::GENERAL,
        }
    }

    /// Returns the problem type. Monitoring reads these names, so they stay as they are.
    #[must_use]
    pub fn problem(&self) -> &'static str {
        match self {
            Self::Url { .. } => "transport-url",
            Self::Resolve { .. } => "transport-resolve",
            Self::Connect { .. } | Self::Socket { .. } => "transport-connect",
            Self::Proxy { .. } => "transport-proxy",
            Self::Tls { .. } => "transport-tls",
            Self::Certificate { .. } => "transport-certificate",
            Self::CaFile { .. } => "transport-ca-file",
            Self::TimedOut { .. } => "transport-timeout",
            Self::TooLarge { .. } => "transport-too-large",
            Self::Cancelled => "transport-cancelled",
            Self::Other { .. } => "transport-failure",
        }
    }

    /// Returns advice for the administrator, where the text of the error does not give it already.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Connect { status: Status::DENIED, .. } | Self::Proxy { status: Status::DENIED, .. } => Some(
                "the system does not permit the connection: with SELinux, 'setsebool -P httpd_can_network_connect on' does; without, see \
                 its firewall",
            ),
            Self::Url { .. } => Some("check MDCertificateAuthority"),
            Self::Resolve { .. } => {
                Some("check that the name is right and that this machine has a name server that answers")
            }
            Self::Connect { .. } => Some(
                "check that the URL is right and that this machine may connect to it; if that takes a proxy, set \
                 MDHttpProxy",
            ),
            Self::Proxy { fault: Some(ProxyFault::Login), .. } => Some(
                "the URL has them before the host, as in user:password@host:port, with other characters than letters and digits as %XX",
            ),
            Self::Proxy { fault: Some(ProxyFault::Trust), .. } => {
                Some("if it was issued by a CA of your own, name its root certificate in MDHttpProxyCACertificateFile")
            }
            Self::Proxy { source_name, .. } if *source_name != DIRECTIVE => Some(
                "check that the proxy runs and lets this machine connect to the CA, or change that variable of the environment; \
                 'MDHttpProxy none' does without",
            ),
            Self::Proxy { .. } => Some("check that the proxy runs and lets this machine connect to the CA"),
            Self::Tls { .. } => Some("check that the URL is right and that nothing intercepts the connection"),
            Self::TimedOut { .. } => Some("check that no firewall drops the connection; the next attempt follows"),
            Self::TooLarge { .. } => Some("check that the URL is the CA's; the next attempt follows"),
            Self::Other { .. } => Some("the next attempt follows"),
            Self::Socket { .. } => Some("check that its server runs and that this user may connect to it"),
            Self::Certificate { .. } | Self::CaFile { .. } | Self::Cancelled => None,
        }
    }

    /// Whether this server cancelled the request, which does not count as a failure.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}
