//! Sets that go live without a restart (`MDActivation live`): which certificates a handshake sends, and how a process learns of
//! new ones.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::boundary::Null;
use super::c::connection::Connection;
use super::c::server::Server;
use super::config::HostState;
use super::{shared, ssl, threads};
use crate::live::LiveSets;
use crate::log::report;
use crate::registry::Registry;
use crate::sets::TlsSet;

/// The time between two checks of a child for new sets. Handshakes check by themselves: without any, this one has former keys
/// wiped.
const TICK: Duration = Duration::from_secs(1);

/// The number of ticks between two calls of [`monitor`] in a server of one process.
const MONITOR_TICKS: u32 = 10;

/// The number of sets that the parent reads at a time, as it has children to look after.
const MOST: usize = 100;

/// The process that made the last start: the parent, or the only process (`httpd -X`). Written by each start.
static OPENED_BY: AtomicU32 = AtomicU32::new(0);

/// The note of a connection whose handshake sent the placeholder.
const ON_PLACEHOLDER: &CStr = c"md-placeholder";

/// The certificates that a handshake sends.
pub enum Certify {
    /// Certificates that the host has had since the start.
    AsStarted,
    /// The placeholder of the start, which nobody can trust.
    Placeholder,
    /// A set that went live.
    Set(Arc<TlsSet>),
    /// The set of the start, which mod_ssl does not have, and one that went live.
    Lazy(Arc<TlsSet>, Option<Arc<TlsSet>>),
}

/// Checks whether handshakes of a TLS host, which is set up now, are to ask [`certify`].
pub fn init_host(server: Server<'_>) -> Result<bool, Null> {
    let host = &server.config()?.host;
    let starting = server.main()?.config()?.main()?.starting();
    Ok(host.is_managed() && starting.as_ref().is_some_and(|starting| starting.setup.goes_live(host.position())))
}

/// Returns the certificates that a handshake with this host sends now.
pub fn certify(server: Server<'_>) -> Result<Certify, Null> {
    let host = &server.config()?.host;
    let live = current(server, host)?;
    if let Some(number) = host.lazy() {
        return Ok(match (lazy(server, number)?, live) {
            (Some(at_start), live) => Certify::Lazy(at_start, live),
            (None, Some(live)) => Certify::Set(live),
            (None, None) => Certify::Placeholder,
        });
    }
    Ok(match live {
        Some(set) => Certify::Set(set),
        None if host.has_placeholder() => Certify::Placeholder,
        None => Certify::AsStarted,
    })
}

/// Warns that OpenSSL does not take all of a set for this host. Returns whether handshakes have the placeholder instead.
pub fn warn_of_refusal(server: Server<'_>, set: &TlsSet) -> Result<bool, Null> {
    let host = &server.config()?.host;
    if set.refuse() {
        let name = server.name().unwrap_or_default();
        report!(
            MD0040,
            "{name}: the TLS settings of this host do not allow a new live certificate: the former one is served, and a \
             restart would fail (AH02562); lower @SECLEVEL in its SSLCipherSuite, or use stronger keys or another CA"
        );
    }
    Ok(host.has_placeholder())
}

/// Notes that the handshake of the connection sends the placeholder.
pub fn mark_placeholder(connection: Connection<'_>) {
    connection.set_note(ON_PLACEHOLDER);
}

/// Checks whether a request on this connection comes under a certificate that clients can trust, though the host began with a
/// placeholder. A connection that began with the placeholder stays as it is; nobody resumes its session.
pub fn is_trusted(server: Server<'_>, connection: Connection<'_>) -> Result<bool, Null> {
    Ok(!connection.master().has_note(ON_PLACEHOLDER) && current(server, &server.config()?.host)?.is_some())
}

/// Returns the set of the start that has this number; `None` if OpenSSL cannot read the set.
fn lazy(server: Server<'_>, number: usize) -> Result<Option<Arc<TlsSet>>, Null> {
    let Some(sets) = server.main()?.config()?.main()?.lazy_sets.get() else { return Ok(None) };
    Ok(sets.get(number).unwrap_or_else(|err| {
        let name = server.name().unwrap_or_default();
        report!(
            MD0090,
            "{name}: OpenSSL cannot read its certificates, clients get none: {err}; set MDLazyCertificates off"
        );
        None
    }))
}

fn current(server: Server<'_>, host: &HostState) -> Result<Option<Arc<TlsSet>>, Null> {
    let Some(registry) = registry(server)? else { return Ok(None) };
    let position = registry.position_at(host.position()).filter(|_| host.is_managed());
    Ok(position.and_then(|position| registry.live_sets.current(position)))
}

/// Prepares this process and its children for sets that go live.
pub fn open(main: Server<'_>, registry: &Registry) -> Result<(), Null> {
    if registry.live_sets.is_empty() {
        return Ok(());
    }
    let counters = shared::counters(main.process_pool()?, "live", LiveSets::COUNTERS);
    if counters.is_none() {
        report!(
            MD0035,
            "no shared memory: with MDActivation live, new certificates reach all children at the next restart only"
        );
    }
    registry.live_sets.share_keys(ssl::share_key);
    registry.live_sets.open(counters);
    OPENED_BY.store(std::process::id(), Ordering::Relaxed);
    Ok(())
}

/// Has the new child learn of sets that another process has written, of this server or of another one.
pub fn child_init(main: Server<'_>) -> Result<(), Null> {
    let Some(registry) = registry(main)?.filter(|registry| !registry.live_sets.is_empty()) else { return Ok(()) };
    let registry = Arc::clone(registry);
    let is_alone = OPENED_BY.load(Ordering::Relaxed) == std::process::id();
    if !is_alone {
        registry.live_sets.leave_search();
    }
    let mut turns = (0..MONITOR_TICKS).cycle();
    let repeated = threads::repeat("md-live", TICK, move || {
        registry.live_sets.refresh();
        registry.live_sets.look_around();
        if is_alone && turns.next() == Some(0) {
            registry.follow_copied();
        }
    });
    if let Err(err) = repeated {
        report!(MD0035, "this child learns of new certificates in handshakes only: {err}");
    }
    Ok(())
}

/// Reads new sets in the parent, so that children forked later have them, and all learn of sets that only the parent may read.
pub fn monitor(main: Server<'_>) -> Result<(), Null> {
    if let Some(registry) = registry(main)? {
        registry.live_sets.refresh_some(MOST);
        registry.follow_copied();
    }
    Ok(())
}

fn registry(server: Server<'_>) -> Result<Option<&Arc<Registry>>, Null> {
    Ok(server.main()?.config()?.main()?.registry.get())
}
