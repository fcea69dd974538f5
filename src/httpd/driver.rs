//! Renewals in the server: mod_watchdog says in which child and when, threads of that child do the work.

use std::sync::Arc;
use std::time::Duration;

use super::boundary::Stop;
use super::c::pool::Pool;
use super::clients::SharedClients;
use super::threads;
use super::watchdog::{self, Failures, Occasion};
use crate::acme::RequestCounts;
use crate::cancel::Cancel;
use crate::crypto::random_fraction;
use crate::log::{AH10061, AH10066, AH10067, report};
use crate::model::ManagedDomain;
use crate::registry::Registry;
use crate::renewals::Renewals;

/// How often it is looked whether something is due; a look is cheap.
const TICK: Duration = Duration::from_secs(1);

/// Starts renewals for this configuration if there are domains to look after.
///
/// Their requests are counted in `requests`.
pub fn register(
    pconf: Pool<'_>,
    registry: &Arc<Registry>,
    requests: Option<&'static RequestCounts>,
) -> Result<(), Stop> {
    if !registry.entries.iter().any(|entry| entry.watched) {
        return Ok(());
    }
    let initial_delay = registry.globals.initial_delay.unsigned_abs();
    let clients = SharedClients::new(&registry.globals, requests);
    let clients = move |md: &ManagedDomain, cancel: &Cancel| clients.of(md, cancel);
    let renewals = Arc::new(Renewals::new(Arc::clone(registry), Box::new(clients), random_fraction));
    let failures = Failures { missing: AH10061, instance: AH10066, callback: AH10067 };
    let callback = Box::new(move |on| tick(&renewals, on));
    watchdog::require(c"_md_renew_", initial_delay, pconf, &failures, callback)
}

/// Nothing but a run sets the time of the next: the first comes after MDInitialDelay.
fn tick(renewals: &Arc<Renewals>, occasion: Occasion) -> Option<Duration> {
    match occasion {
        Occasion::Start => report!(AH10054, "renewal watchdog started"),
        Occasion::Stop => report!(AH10058, "renewal watchdog stopping"),
        Occasion::Run => {
            let worker = Arc::clone(renewals);
            threads::spawn_each(
                renewals.tick(),
                "md-renew",
                move |cancel| worker.work(cancel),
                || renewals.worker_lost(),
            );
        }
    }
    (occasion == Occasion::Run).then_some(TICK)
}
