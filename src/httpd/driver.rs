//! Renewals in the server: mod_watchdog chooses the child and the time, threads of that child do the work.

use std::sync::Arc;
use std::time::Duration;

use super::boundary::Stop;
use super::c::pool::Pool;
use super::watchdog::{self, Failures, Occasion};
use super::{process, threads};
use crate::cancel::Cancel;
use crate::crypto::random_fraction;
use crate::log::{AH10061, AH10066, AH10067, note, report};
use crate::model::ManagedDomain;
use crate::registry::Registry;
use crate::renewals::Renewals;
use crate::serving::clients::CaClients;

/// The time between two checks whether a renewal is due; a check is cheap.
const TICK: Duration = Duration::from_secs(1);

/// Starts renewals for this configuration if there are domains to renew.
pub fn register(pconf: Pool<'_>, registry: &Arc<Registry>) -> Result<(), Stop> {
    if !registry.domains.iter().any(|domain| domain.watched) {
        return Ok(());
    }
    let initial_delay = registry.globals.initial_delay.unsigned_abs();
    let requests = registry.counts.map(|counts| &counts.requests);
    let clients = CaClients::new(&registry.globals, process::base_version().to_string(), requests);
    let clients = move |md: &ManagedDomain, cancel: &Cancel| clients.of(md, cancel);
    let renewals = Arc::new(Renewals::new(Arc::clone(registry), Box::new(clients), random_fraction));
    let workers = Arc::downgrade(&renewals);
    renewals.start_workers_with(Box::new(move || workers.upgrade().is_some_and(|renewals| start_worker(&renewals))));
    let failures = Failures { missing: AH10061, instance: AH10066, callback: AH10067 };
    let callback = Box::new(move |on| tick(&renewals, on));
    watchdog::require(c"_md_renew_", initial_delay, pconf, &failures, callback)
}

/// Returns the time until the next run. Only a run sets it: the first run comes after MDInitialDelay.
fn tick(renewals: &Arc<Renewals>, occasion: Occasion) -> Option<Duration> {
    match occasion {
        Occasion::Start => report!(AH10054, "renewal watchdog started"),
        Occasion::Stop => report!(AH10058, "renewal watchdog stopping"),
        Occasion::Run => {
            (0..renewals.tick()).filter(|_| !start_worker(renewals)).for_each(|_| renewals.worker_lost());
        }
    }
    (occasion == Occasion::Run).then_some(TICK)
}

/// Starts a thread that renews; `false` if it cannot be started, as in a child that ends.
fn start_worker(renewals: &Arc<Renewals>) -> bool {
    let worker = Arc::clone(renewals);
    let started = threads::spawn("md-renew", move |cancel| worker.work(cancel));
    started.map_err(|err| note!(Debug, "thread md-renew is not started: {err}")).is_ok()
}
