//! What the module does in each phase of the server, in safe Rust.

use std::path::PathBuf;

use super::command::CommandScope;
use super::log::{self, Level, Record};
use super::pool::Pool;
use super::process;
use super::request::{Answer, Connection, Request};
use super::server::Server;
use super::table::Directive;

/// Settings of one server. Written by directives and by the merge; read-only from check_config on.
#[derive(Debug, Default, Clone)]
pub struct ServerConfig {
    /// Domains in the order of declaration.
    pub domains: Vec<Vec<String>>,
    /// The section being read.
    section: Option<Vec<String>>,
}

impl ServerConfig {
    /// What a virtual host has in the end: its own settings over those of the main server.
    pub fn merge(base: &Self, add: &Self) -> Self {
        Self { domains: base.domains.iter().chain(&add.domains).cloned().collect(), section: None }
    }
}

/// The start cannot go on. The reason is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

/// A directive that is no section. The reason of a refusal follows the directive's name.
pub fn directive(scope: &mut CommandScope<'_>, row: &Directive, words: &[&str]) -> Result<(), String> {
    if row.name == c"MDomain" {
        let names = words.iter().map(|word| (*word).to_owned()).collect();
        scope.config().domains.push(names);
    }
    Ok(())
}

/// The start of a section; its directives come next.
pub fn section_begin(scope: &mut CommandScope<'_>, _row: &Directive, words: &[&str]) -> Result<(), String> {
    if words.is_empty() {
        return Err("section must specify a unique domain name".into());
    }
    if scope.config().section.is_some() {
        return Err("is not allowed inside an '<MDomainSet' context".into());
    }
    scope.config().section = Some(words.iter().map(|word| (*word).to_owned()).collect());
    Ok(())
}

/// The end of a section whose directives were all accepted.
pub fn section_end(scope: &mut CommandScope<'_>, _row: &Directive) -> Result<(), String> {
    let config = scope.config();
    config.domains.extend(config.section.take());
    Ok(())
}

/// The configuration is complete; `httpd -t` ends after this.
pub fn check_config(_pconf: Pool<'_>, _ptemp: Pool<'_>, _main: Server<'_>) -> Result<(), Stop> {
    Ok(())
}

/// Before the TLS modules look for certificates. Also runs in the pass that only tries the configuration.
pub fn post_config_first(_pconf: Pool<'_>, _ptemp: Pool<'_>, _main: Server<'_>) -> Result<(), Stop> {
    if process::is_dry_run() {
        log::sink(&Record {
            level: Level::Trace1,
            number: Some("AH10070"),
            status: 0,
            text: "initial configuration pass",
        });
    } else {
        let text = concat!("mod_md (v", env!("CARGO_PKG_VERSION"), ", Rust), initializing...");
        log::sink(&Record { level: Level::Info, number: Some("AH10071"), status: 0, text });
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
