//! Hosts of managed domains that have certificate files of their own (`SSLCertificateFile`). Those are served until the domain
//! has certificates; from then on only for types of key that the domain has not, and only while they are good for the host.

use std::ptr::NonNull;

use apache_sys as sys;
use jiff::Timestamp;

use super::boundary::Null;
use super::c::server::Server;
use super::config::Starting;
use crate::clock::{Clock, SystemClock};
use crate::crypto::{Certificate, TlsPointers};
use crate::log::report;
use crate::model::ManagedDomain;

/// So many hosts are named in a line of the log.
const MOST_NAMED: usize = 20;

/// When the files of a host are served, and what to do about them.
const ADVICE: [(Role, &str); 3] = [
    (
        Role::UntilManaged,
        "SSLCertificateFile is served until the Managed Domain has a certificate; remove SSLCertificateFile and \
         SSLCertificateKeyFile after that",
    ),
    (
        Role::Never,
        "SSLCertificateFile is not served any more, as the Managed Domain has a certificate; remove SSLCertificateFile and \
         SSLCertificateKeyFile",
    ),
    (
        Role::OtherKeys,
        "SSLCertificateFile is still served, for a type of key that the Managed Domain has not; add the type to \
         MDPrivateKeys, or remove SSLCertificateFile and SSLCertificateKeyFile",
    ),
];

/// A host with files of its own, for the log.
#[derive(Debug)]
pub struct OwnFiles {
    position: usize,
    /// The host, its files and its domain, in words.
    text: String,
    role: Role,
}

/// When the files of a host are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Until the domain has a certificate.
    UntilManaged,
    /// No longer.
    Never,
    /// For a type of key that the domain has not.
    OtherKeys,
}

/// What the handshakes of such a host choose from, all of it in the host's TLS settings too, which keep it.
#[derive(Debug)]
pub struct Beside {
    /// The host.
    pub host: NonNull<sys::server_rec>,
    /// Certificates that the domain has had at the start.
    pub managed: Vec<TlsPointers>,
    own: Vec<Own>,
}

/// A certificate from a file of the host.
#[derive(Debug)]
struct Own {
    pair: TlsPointers,
    /// When it ends, if it is for a name of the host.
    good_until: Option<Timestamp>,
}

impl OwnFiles {
    /// Of the host at `position`, which was asked for certificates of its domain.
    #[must_use]
    pub fn new(position: usize, host: &str, files: &[String], md: &ManagedDomain) -> Self {
        let text = format!("{host} ({}; Managed Domain {})", files.join(", "), md.name);
        Self { position, text, role: Role::UntilManaged }
    }
}

impl Beside {
    /// The certificates of files that are served beside those of the domain at `now`.
    pub fn good_at(&self, now: Timestamp) -> impl Iterator<Item = TlsPointers> {
        let good = move |own: &&Own| own.good_until.is_some_and(|until| now < until);
        self.own.iter().filter(good).map(|own| own.pair)
    }

    /// The certificates of all files.
    pub fn all_own(&self) -> impl Iterator<Item = TlsPointers> {
        self.own.iter().map(|own| own.pair)
    }
}

/// mod_ssl has set up a host that has files of its own, with these certificates. `None` if handshakes have nothing to choose:
/// there are those of the domain only, or only those of files and nothing goes live.
pub fn init_host(
    server: Server<'_>,
    host: NonNull<sys::server_rec>,
    pairs: Vec<(TlsPointers, Option<Certificate>)>,
    goes_live: bool,
) -> Result<Option<Beside>, Null> {
    let position = server.config()?.host.position();
    let mut starting = server.main()?.config()?.main()?.starting();
    let Some(Starting { setup, own_files, .. }) = &mut *starting else { return Ok(None) };
    let mut beside = Beside { host, managed: Vec::new(), own: Vec::new() };
    for (pair, leaf) in pairs {
        if leaf.as_ref().is_some_and(|leaf| setup.is_of_domain(position, leaf)) {
            beside.managed.push(pair);
        } else {
            let good_until = leaf.filter(|leaf| setup.is_for_host(position, leaf)).map(|leaf| leaf.not_after());
            beside.own.push(Own { pair, good_until });
        }
    }
    let is_managed = !beside.managed.is_empty();
    // mod_ssl sets up one host after another: it is the last.
    if let Some(told) = own_files.iter_mut().rfind(|own| own.position == position).filter(|_| is_managed) {
        let is_served = beside.good_at(SystemClock.now()).next().is_some();
        told.role = if is_served { Role::OtherKeys } else { Role::Never };
    }
    Ok((goes_live || (is_managed && !beside.own.is_empty())).then_some(beside))
}

/// Says once per start what files are there for.
pub fn tell(all: &[OwnFiles]) {
    for (role, advice) in ADVICE {
        let mut hosts = all.iter().filter(|own| own.role == role).map(|own| own.text.as_str());
        let named = hosts.by_ref().take(MOST_NAMED).collect::<Vec<_>>().join(", ");
        match hosts.count() {
            _ if named.is_empty() => {}
            0 => report!(MD0007, "{advice}: {named}"),
            more => report!(MD0007, "{advice}: {named} and {more} more"),
        }
    }
}
