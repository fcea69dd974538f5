//! OCSP stapling in the server: which certificates get a response, which one a handshake sends, and which child fetches it.
//!
//! mod_ssl passes each certificate while a host is set up ([`prime`]). One child fetches responses ([`register`]). The others
//! see by counters in shared memory that there are new ones, and read them on a thread of their own ([`child_init`]), so that a
//! handshake ([`staple`]) finds its response in memory.

use std::sync::Arc;
use std::time::Duration;

use super::boundary::{Null, Stop};
use super::c::pool::Pool;
use super::c::server::Server;
use super::watchdog::{self, Failures, Occasion};
use super::{process, shared, threads};
use crate::cancel::Cancel;
use crate::crypto::random_fraction;
use crate::log::{AH10201, AH10202, AH10203, report};
use crate::model::Settings;
use crate::ocsp;
use crate::registry::{Registry, Setup};
use crate::serving::clients::Responders;
use crate::stapling::{Sha1, Staple, StaplingWork};

/// The time between two checks: whether a response is due, and in the other children whether there is a new one.
const TICK: Duration = Duration::from_secs(1);

/// The time that a request for a response may take while certificates wait for it to go live.
const AHEAD: Duration = Duration::from_secs(5);

/// Takes a certificate of a TLS host, given as PEM with its issuer after it. Returns whether this module staples it.
pub fn prime(server: Server<'_>, pem: &[u8]) -> Result<bool, Null> {
    ask_setup(server, |setup, position, configured| setup.prime(position, configured.stapling, configured.others, pem))
}

/// Checks whether this module staples the certificates of a TLS host, which is set up now.
pub fn init_host(server: Server<'_>) -> Result<bool, Null> {
    let ours = ask_setup(server, |setup, position, configured| {
        setup.staples(position, configured.stapling, configured.others)
    })?;
    if ours {
        server.config()?.host.set_stapled();
    }
    Ok(ours)
}

/// The two directives about stapling, of a host or else of the main server.
pub(super) struct Configured {
    pub(super) stapling: Option<bool>,
    pub(super) others: Option<bool>,
}

/// Returns what the configuration says about stapling on a host.
pub(super) fn configured(server: Server<'_>) -> Result<Configured, Null> {
    let own = server.config()?;
    let main = server.main()?.config()?;
    let value =
        |of: fn(&Settings) -> Option<bool>| own.settings().and_then(of).or_else(|| main.settings().and_then(of));
    Ok(Configured { stapling: value(|all| all.stapling), others: value(|all| all.staple_others) })
}

/// Asks the start in progress about a host; the answer is `false` if there is none.
fn ask_setup(server: Server<'_>, question: impl FnOnce(&Setup, usize, &Configured) -> bool) -> Result<bool, Null> {
    let configured = configured(server)?;
    let position = server.config()?.host.position();
    let starting = server.main()?.config()?.main()?.starting();
    Ok(starting.as_ref().is_some_and(|starting| question(&starting.setup, position, &configured)))
}

/// Returns the staple to the certificate of this fingerprint on this host.
pub fn staple(server: Server<'_>, sha1: &Sha1) -> Result<Staple, Null> {
    let registry = registry(server)?.filter(|_| server.config().is_ok_and(|config| config.host.is_stapled()));
    Ok(registry.map_or(Staple::NotOurs, |registry| registry.stapling.staple(sha1, registry.clock.now())))
}

/// Starts to fetch responses for this configuration, if there is a certificate to staple.
pub fn register(pconf: Pool<'_>, main: Server<'_>, registry: &Arc<Registry>) -> Result<(), Stop> {
    let stapling = &registry.stapling;
    if stapling.is_empty() {
        return Ok(());
    }
    match shared::signals(main.process_pool()?, stapling.signals_needed()) {
        Some(signals) => stapling.share(signals),
        None => report!(MD0034, "no shared memory: new OCSP responses reach all children at the next restart only"),
    }
    let responders = Responders::new(&registry.globals, process::base_version().to_string());
    let ahead = responders.clone();
    stapling.set_client(Box::new(move |cancel| ahead.client(AHEAD, AHEAD, cancel)));
    let client = move |cancel: &Cancel| responders.client(ocsp::CONNECT_TIMEOUT, ocsp::TIMEOUT, cancel);
    let work = Arc::new(registry.stapling_work(Box::new(client), random_fraction));
    let failures = Failures { missing: AH10201, instance: AH10202, callback: AH10203 };
    let callback = Box::new(move |on| tick(&work, on));
    watchdog::require(c"_md_ocsp_", Duration::ZERO, pconf, &failures, callback)
}

/// Returns the time until the next run. The first run comes at once.
fn tick(work: &Arc<StaplingWork>, occasion: Occasion) -> Option<Duration> {
    match occasion {
        Occasion::Start => report!(AH10197, "OCSP watchdog started"),
        Occasion::Stop => report!(AH10200, "OCSP watchdog stopping"),
        Occasion::Run => {
            let worker = Arc::clone(work);
            threads::spawn_each(work.tick(), "md-ocsp", move |cancel| worker.work(cancel), || work.worker_lost());
        }
    }
    (occasion == Occasion::Run).then_some(TICK)
}

/// Has the new child learn of responses that another child fetches.
pub fn child_init(main: Server<'_>) -> Result<(), Null> {
    let Some(registry) = registry(main)?.filter(|registry| !registry.stapling.is_empty()) else { return Ok(()) };
    let stapling = Arc::clone(&registry.stapling);
    if let Err(err) = threads::repeat("md-staple", TICK, move || {
        stapling.refresh();
    }) {
        report!(MD0034, "this child does not learn of new OCSP responses: {err}");
    }
    Ok(())
}

/// Reads new responses in the parent, so that children forked later have them.
pub fn monitor(main: Server<'_>) -> Result<(), Null> {
    if let Some(registry) = registry(main)? {
        registry.stapling.refresh();
    }
    Ok(())
}

fn registry(server: Server<'_>) -> Result<Option<&Arc<Registry>>, Null> {
    Ok(server.main()?.config()?.main()?.registry.get())
}
