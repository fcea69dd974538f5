//! Sets that go live in the server (`MDActivation live`): what a handshake gets in place of what the start has set up, and
//! how a process learns of it.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::Duration;

use super::boundary::Null;
use super::request::Connection;
use super::server::Server;
use super::{shared, threads};
use crate::log::report;
use crate::registry::{Bundles, Registry, Served};

/// How often a child looks whether there is something new. Handshakes look by themselves: this is for keys to be wiped where
/// there are none.
const TICK: Duration = Duration::from_secs(1);

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
    Ok(match current(server)? {
        Some(set) => Certify::Set(set),
        None if host.has_placeholder() => Certify::Placeholder,
        None => Certify::AsStarted,
    })
}

/// The connection begins on the placeholder.
pub fn mark_placeholder(connection: Connection<'_>) {
    connection.set_note(ON_PLACEHOLDER);
}

/// Whether a request on this connection comes under a certificate that clients can trust, though the host began with a
/// placeholder. A connection that began on that stays as it is; nobody resumes its session.
pub fn is_trusted(server: Server<'_>, connection: Connection<'_>) -> Result<bool, Null> {
    Ok(!connection.master().has_note(ON_PLACEHOLDER) && current(server)?.is_some())
}

fn current(server: Server<'_>) -> Result<Option<Arc<Served>>, Null> {
    let Some(registry) = registry(server)? else { return Ok(None) };
    let host = &server.config()?.host;
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
    registry.bundles.open(counters);
    Ok(())
}

/// Has the new child learn of sets that another one has written.
pub fn child_init(main: Server<'_>) -> Result<(), Null> {
    let Some(registry) = registry(main)?.filter(|registry| !registry.bundles.is_empty()) else { return Ok(()) };
    let bundles = Arc::clone(&registry.bundles);
    let repeated = threads::repeat("md-live", TICK, move || {
        bundles.refresh();
    });
    if let Err(err) = repeated {
        report!(MD0035, "this child learns of new certificates in handshakes only: {err}");
    }
    Ok(())
}

/// In the parent: children that are forked from now on know what it knows.
pub fn monitor(main: Server<'_>) -> Result<(), Null> {
    if let Some(registry) = registry(main)? {
        registry.bundles.refresh();
    }
    Ok(())
}

fn registry(server: Server<'_>) -> Result<Option<&Arc<Registry>>, Null> {
    Ok(server.main()?.config()?.main()?.registry.get())
}
