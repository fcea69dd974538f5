//! Sets that go live in the server (`MDActivation live`): what a handshake gets in place of what the start has set up, and
//! how a process learns of it.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::boundary::Null;
use super::c::connection::Connection;
use super::c::server::Server;
use super::config::HostState;
use super::{shared, ssl, threads};
use crate::live::Bundles;
use crate::log::report;
use crate::registry::Registry;
use crate::sets::Served;

/// How often a child looks whether there is something new. Handshakes look by themselves: this is for keys to be wiped where
/// there are none.
const TICK: Duration = Duration::from_secs(1);

/// So many ticks pass where httpd would call [`monitor`] if it had a parent and children.
const MONITOR_TICKS: u32 = 10;

/// How many sets the parent reads at a time, which has children to look after.
const MOST: usize = 100;

/// The process that has set up what runs: the parent, or the only one (`httpd -X`). Written by each start.
static OPENED_BY: AtomicU32 = AtomicU32::new(0);

/// What marks a connection whose handshake had nothing but the placeholder.
const ON_PLACEHOLDER: &CStr = c"md-placeholder";

/// What a handshake sends.
pub enum Certify {
    /// What the host has had since the start.
    AsStarted,
    /// The same, which nobody can trust.
    Placeholder,
    /// A set that went live.
    Set(Arc<Served>),
}

/// The TLS host is set up. Whether its handshakes are to ask [`certify`].
pub fn init_host(server: Server<'_>) -> Result<bool, Null> {
    let host = &server.config()?.host;
    let starting = server.main()?.config()?.main()?.starting();
    Ok(host.is_managed() && starting.as_ref().is_some_and(|starting| starting.setup.goes_live(host.position())))
}

/// What a handshake with this host sends now.
pub fn certify(server: Server<'_>) -> Result<Certify, Null> {
    let host = &server.config()?.host;
    Ok(match current(server, host)? {
        Some(set) => Certify::Set(set),
        None if host.has_placeholder() => Certify::Placeholder,
        None => Certify::AsStarted,
    })
}

/// OpenSSL does not take all of a set for this host. Whether handshakes have the placeholder instead.
pub fn is_refused(server: Server<'_>, set: &Served) -> Result<bool, Null> {
    let host = &server.config()?.host;
    if set.refuse() {
        let name = server.name().unwrap_or_default();
        report!(
            MD0040,
            "{name}: its TLS settings do not allow a certificate that is live: what it had before is served, and a restart would \
             fail (AH02562); lower @SECLEVEL in its SSLCipherSuite, or have stronger keys and another CA"
        );
    }
    Ok(host.has_placeholder())
}

/// The connection begins on the placeholder.
pub fn mark_placeholder(connection: Connection<'_>) {
    connection.set_note(ON_PLACEHOLDER);
}

/// Whether a request on this connection comes under a certificate that clients can trust, though the host began with a
/// placeholder. A connection that began on that stays as it is; nobody resumes its session.
pub fn is_trusted(server: Server<'_>, connection: Connection<'_>) -> Result<bool, Null> {
    Ok(!connection.master().has_note(ON_PLACEHOLDER) && current(server, &server.config()?.host)?.is_some())
}

fn current(server: Server<'_>, host: &HostState) -> Result<Option<Arc<Served>>, Null> {
    let Some(registry) = registry(server)? else { return Ok(None) };
    let position = registry.position_at(host.position()).filter(|_| host.is_managed());
    Ok(position.and_then(|position| registry.bundles.current(position)))
}

/// Has this process and its children know what is live.
pub fn open(main: Server<'_>, registry: &Registry) -> Result<(), Null> {
    if registry.bundles.is_empty() {
        return Ok(());
    }
    let counters = shared::counters(main.process_pool()?, "live", Bundles::COUNTERS);
    if counters.is_none() {
        report!(
            MD0035,
            "no shared memory: with MDActivation live, new certificates reach all children at the next restart only"
        );
    }
    registry.bundles.share_keys(ssl::share_key);
    registry.bundles.open(counters);
    OPENED_BY.store(std::process::id(), Ordering::Relaxed);
    Ok(())
}

/// Has the new child learn of sets that another process has written, of this server or not.
pub fn child_init(main: Server<'_>) -> Result<(), Null> {
    let Some(registry) = registry(main)?.filter(|registry| !registry.bundles.is_empty()) else { return Ok(()) };
    let registry = Arc::clone(registry);
    let is_alone = OPENED_BY.load(Ordering::Relaxed) == std::process::id();
    let mut turns = (0..MONITOR_TICKS).cycle();
    let repeated = threads::repeat("md-live", TICK, move || {
        registry.bundles.refresh();
        registry.bundles.look_around();
        if is_alone && turns.next() == Some(0) {
            registry.follow_copied();
        }
    });
    if let Err(err) = repeated {
        report!(MD0035, "this child learns of new certificates in handshakes only: {err}");
    }
    Ok(())
}

/// In the parent: children that are forked from now on know what it knows, and all learn of what only it may read.
pub fn monitor(main: Server<'_>) -> Result<(), Null> {
    if let Some(registry) = registry(main)? {
        registry.bundles.refresh_some(MOST);
        registry.follow_copied();
    }
    Ok(())
}

fn registry(server: Server<'_>) -> Result<Option<&Arc<Registry>>, Null> {
    Ok(server.main()?.config()?.main()?.registry.get())
}
