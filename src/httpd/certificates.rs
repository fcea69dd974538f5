//! Certificate files of TLS hosts, at the start of the server. [`Offer`] decides which a host gets.

use super::birth::{self, Expected};
use super::boundary::{Null, Stop};
use super::c::server::Server;
use super::config::{HostState, Lazy, Starting};
use super::files::{CertificateFiles, FileArrays};
use super::phase;
use super::stapling::{self, Configured};
use crate::log::report;
use crate::model::{KeySpec, ManagedDomain};
use crate::registry::Setup;
use crate::serving::offer::{Domain, Offer, TlsHost};
use crate::serving::own_files::OwnFiles;
use crate::sets::StoredPair;
use crate::store::{Aspect, FileStore, Group};

/// The certificates of a host that this module has.
pub enum Offered {
    /// No certificates: other modules are asked, and the files that the configuration has for the host are used.
    Nothing,
    /// Files that mod_ssl reads now.
    Files(Vec<CertificateFiles>),
    /// Files that mod_ssl does not read, as handshakes have their contents.
    Lazily(Vec<CertificateFiles>),
}

/// Returns the certificates of a host that uses TLS. `own` are the files that the configuration has for the host.
pub fn certificate_files(server: Server<'_>, own: &[String]) -> Offered {
    birth::expect(Expected::Nothing);
    match find(server, own) {
        Err(Stop) => Offered::Nothing,
        Ok(files) if files.is_empty() => Offered::Nothing,
        Ok(files) if server.config().is_ok_and(|config| config.host.lazy().is_some()) => Offered::Lazily(files),
        Ok(files) => Offered::Files(files),
    }
}

/// Notes files that mod_ssl gets to know when it has set up all hosts: it compares hosts by the names of their files
/// (`SSLVHostSNIPolicy`).
pub fn add_later(server: Server<'_>, arrays: FileArrays, files: Vec<CertificateFiles>) -> Result<(), Null> {
    let mut starting = server.main()?.config()?.main()?.starting();
    if let Some(Starting { lazy: Some(lazy), .. }) = &mut *starting {
        lazy.files.insert(server.config()?.host.position(), (arrays, files));
    }
    Ok(())
}

/// Takes the files of a host that were noted.
pub fn take_later(server: Server<'_>) -> Result<Option<(FileArrays, Vec<CertificateFiles>)>, Null> {
    let mut starting = server.main()?.config()?.main()?.starting();
    let Some(Starting { lazy: Some(lazy), .. }) = &mut *starting else { return Ok(None) };
    Ok(lazy.files.remove(&server.config()?.host.position()))
}

fn find(server: Server<'_>, own: &[String]) -> Result<Vec<CertificateFiles>, Stop> {
    let host = &server.config()?.host;
    host.set_tls();
    let mut starting = server.main()?.config()?.main()?.starting();
    let Some(Starting { setup, store: Some(store), own_files, lazy }) = &mut *starting else {
        return Ok(Vec::new());
    };
    let has_own_files = !own.is_empty();
    let is_restart = phase::is_restart();
    let Some(md) = setup.domain_of(host.position()) else {
        let offer = Offer::to(TlsHost { domain: None, has_own_files, is_restart });
        let substitute = if offer == Offer::Substitute { setup.substitute_of(host.position()) } else { None };
        return substitute.map_or(Ok(Vec::new()), |md| placeholder(host, setup, store, md));
    };
    let name = server.name().unwrap_or_default();
    report!(AH10113, "{name}: asked for the certificates of Managed Domain {}", md.name);
    let is_another_to_follow = phase::is_dry_run() && !phase::is_config_test();
    if let Some(lazy) = lazy.as_ref().filter(|_| is_another_to_follow && !has_own_files && !md.is_static()) {
        // The pass that follows looks at the certificates, which mod_ssl does not need.
        if !needs_files(server, lazy, setup)? {
            host.set_lazy(0);
            birth::expect(at_birth(server, lazy));
            return Ok(Vec::new());
        }
    }
    let (usable, pairs) = setup.usable_pairs(md);
    if has_own_files {
        report!(AH10084, "{name}: has other certificates configured, beside those of Managed Domain {}", md.name);
        host.set_own_files();
        own_files.push(OwnFiles::new(host.position(), name, own, md));
    }
    let domain = Domain { is_static: md.is_static(), has_usable: !usable.is_empty() };
    let offer = Offer::to(TlsHost { domain: Some(domain), has_own_files, is_restart });
    if offer.is_managed() {
        host.set_managed();
    }
    match offer {
        Offer::StaticFiles => {
            report!(AH10077, "{name}: providing the certificate files of Managed Domain {}", md.name);
            Ok(static_files(md, &usable))
        }
        Offer::Store => {
            report!(AH10077, "{name}: providing {} certificates of Managed Domain {}", usable.len(), md.name);
            if let Some(lazy) = lazy.as_mut().filter(|_| !has_own_files) {
                make_lazy(server, lazy, setup, md, &pairs)?;
            }
            let specs = md.key_specs().0;
            let specs: Vec<KeySpec> = usable.iter().filter_map(|position| specs.get(*position)).cloned().collect();
            files(store, md, &specs, Aspect::Chain, Aspect::PrivateKey)
        }
        Offer::Placeholder => {
            report!(AH10116, "{name}: providing a placeholder until Managed Domain {} has a certificate", md.name);
            placeholder(host, setup, store, md)
        }
        Offer::OwnFiles | Offer::Substitute | Offer::Others => Ok(Vec::new()),
    }
}

/// Has handshakes of the host decode these pairs of its domain, if that fits the host.
fn make_lazy(
    server: Server<'_>,
    lazy: &mut Lazy,
    setup: &Setup,
    md: &ManagedDomain,
    pairs: &[StoredPair],
) -> Result<(), Stop> {
    let host = &server.config()?.host;
    let number = if needs_files(server, lazy, setup)? { None } else { lazy.sets.add(&md.name, pairs) };
    lazy.hosts[usize::from(number.is_none())] += 1;
    let Some(number) = number else { return Ok(()) };
    host.set_lazy(number);
    birth::expect(at_birth(server, lazy));
    // mod_ssl has nothing to pass on.
    let Configured { stapling, others } = stapling::configured(server)?;
    if md.must_staple || setup.staples(host.position(), stapling, others) {
        for pair in pairs {
            setup.prime(host.position(), stapling, others, &pair.chain.to_pem());
        }
    }
    Ok(())
}

/// Checks whether mod_ssl has to read the certificates of the host, as its directives are about files.
fn needs_files(server: Server<'_>, lazy: &Lazy, setup: &Setup) -> Result<bool, Stop> {
    let Configured { stapling, others } = stapling::configured(server)?;
    let is_stapled = setup.staples(server.config()?.host.position(), stapling, others);
    Ok(lazy.tls.needs_files(server.section().as_ref(), is_stapled))
}

/// Returns what the host's TLS settings need from birth.
fn at_birth(server: Server<'_>, lazy: &Lazy) -> Expected {
    if lazy.tls.wants_staples(server.section().as_ref()) { Expected::Chain } else { Expected::Leaf }
}

/// Returns the placeholder of the domain, under which nothing is served. If the store takes none, a running server gets the
/// files of another domain: without any certificate mod_ssl ends the server.
fn placeholder(
    host: &HostState,
    setup: &Setup,
    store: &FileStore,
    md: &ManagedDomain,
) -> Result<Vec<CertificateFiles>, Stop> {
    host.set_placeholder();
    if setup.ensure_placeholder(md).is_ok() {
        return files(store, md, &md.key_specs().0, Aspect::Fallback, Aspect::Fallback);
    }
    match setup.lender().filter(|_| phase::is_restart()) {
        Some((other, specs, true)) => files(store, other, &specs, Aspect::Fallback, Aspect::Fallback),
        Some((other, specs, false)) => files(store, other, &specs, Aspect::Chain, Aspect::PrivateKey),
        None => Err(Stop),
    }
}

/// Returns the administrator's files as they are: a start ends with mod_ssl's words on what is wrong with one, while a running
/// server leaves that one out.
fn static_files(md: &ManagedDomain, usable: &[usize]) -> Vec<CertificateFiles> {
    let pairs = md.cert_files.iter().zip(&md.pkey_files).enumerate();
    let served = pairs.filter(|(position, _)| !phase::is_restart() || usable.contains(position));
    served.map(|(_, (chain, key))| CertificateFiles { chain: chain.into(), key: key.into() }).collect()
}

/// Returns the paths of a domain's files in the store, for these types of keys.
fn files(
    store: &FileStore,
    md: &ManagedDomain,
    specs: &[KeySpec],
    chain: fn(KeySpec) -> Aspect,
    key: fn(KeySpec) -> Aspect,
) -> Result<Vec<CertificateFiles>, Stop> {
    let path = |aspect| {
        store.path(Group::Domains, md.name.as_str(), &aspect).map_err(|err| {
            report!(AH10110, err.status(); "{}: {err}", md.name);
            Stop
        })
    };
    specs
        .iter()
        .map(|spec| Ok(CertificateFiles { chain: path(chain(spec.clone()))?, key: path(key(spec.clone()))? }))
        .collect()
}
