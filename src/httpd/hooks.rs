//! What the module does in each phase of the server, in safe Rust.

use std::path::PathBuf;

use super::pool::Pool;
use super::process;
use super::request::{Answer, Connection, Request};
use super::server::Server;
use crate::log::report;
use crate::model::VERSION;

/// The start cannot go on. The reason is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

/// The configuration is complete; `httpd -t` ends after this.
pub fn check_config(_pconf: Pool<'_>, _ptemp: Pool<'_>, _main: Server<'_>) -> Result<(), Stop> {
    Ok(())
}

/// Before the TLS modules look for certificates. Also runs in the pass that only tries the configuration.
pub fn post_config_first(_pconf: Pool<'_>, _ptemp: Pool<'_>, _main: Server<'_>) -> Result<(), Stop> {
    if process::is_dry_run() {
        report!(AH10070, "initial configuration pass");
    } else {
        report!(AH10071, "mod_md (v{VERSION}, Rust), initializing...");
    }
    Ok(())
}

/// After the TLS modules asked for certificates, before mod_watchdog starts.
pub fn post_config_last(_pconf: Pool<'_>, _ptemp: Pool<'_>, _main: Server<'_>) -> Result<(), Stop> {
    Ok(())
}

/// First in a new child; threads may be started from now on.
pub fn child_init(_pchild: Pool<'_>, _main: Server<'_>) {}

/// A request, before mod_ssl or anything else looks at it.
pub fn post_read_first(_request: Request<'_>) -> Answer {
    Answer::Declined
}

/// A request, before it is mapped to anything: challenges are answered here.
pub fn post_read_challenge(_request: Request<'_>) -> Answer {
    Answer::Declined
}

/// A request in the content phase.
pub fn handler(_request: Request<'_>) -> Answer {
    Answer::Declined
}

/// A certificate chain and its key, both PEM files that the parent can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the server's certificate first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The certificates of a host that uses TLS; none leaves it to others.
pub fn certificate_files(_server: Server<'_>) -> Vec<CertificateFiles> {
    Vec::new()
}

/// What to use until there is a certificate, for hosts that nobody has one for.
pub fn fallback_certificate_files(_server: Server<'_>) -> Vec<CertificateFiles> {
    Vec::new()
}

/// A certificate and its key as PEM text.
pub struct CertificatePem {
    /// The chain, the challenge's certificate first.
    pub chain: String,
    /// The private key.
    pub key: String,
}

/// The certificate for a TLS connection that is a challenge for `name`.
pub fn challenge_certificate(_connection: Connection<'_>, _name: &str) -> Option<CertificatePem> {
    None
}
