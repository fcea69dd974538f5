//! Renewals in the server: mod_watchdog says in which child and when, threads of that child do the work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::hooks::Stop;
use super::pool::Pool;
use super::watchdog::{self, Occasion, WatchdogError};
use super::{process, threads};
use crate::cancel::Cancel;
use crate::crypto::random_bytes;
use crate::http::{CurlClient, CurlSettings, HttpClient};
use crate::log::{note, report};
use crate::model::{ManagedDomain, Status, VERSION};
use crate::registry::{Registry, Renewals};

/// How often it is looked whether something is due; a look is cheap.
const TICK: Duration = Duration::from_secs(1);

/// Starts renewals for this configuration if there are domains to look after.
pub fn register(pconf: Pool<'_>, registry: &Arc<Registry>) -> Result<(), Stop> {
    if !registry.entries.iter().any(|entry| entry.watched) {
        return Ok(());
    }
    let clients = SharedClients { ca_file: registry.globals.ca_file.clone(), by_ca_file: Mutex::default() };
    let clients = move |md: &ManagedDomain, cancel: &Cancel| clients.of(md, cancel);
    let renewals = Arc::new(Renewals::new(Arc::clone(registry), Box::new(clients), random));
    let registered =
        watchdog::register(c"_md_renew_", Duration::ZERO, pconf, Box::new(move |on| Some(tick(&renewals, on))));
    let Err(err) = registered else { return Ok(()) };
    match err {
        WatchdogError::Missing => report!(AH10061, "{err}, load it with LoadModule watchdog_module"),
        WatchdogError::Instance(status) => report!(AH10066, Status(status); "{err}"),
        WatchdogError::Callback(status) => report!(AH10067, Status(status); "{err}"),
    }
    if process::is_restart() { Ok(()) } else { Err(Stop) }
}

fn tick(renewals: &Arc<Renewals>, occasion: Occasion) -> Duration {
    match occasion {
        Occasion::Start => report!(AH10054, "renewal watchdog started"),
        Occasion::Stop => report!(AH10058, "renewal watchdog stopping"),
        Occasion::Run => {
            for _ in 0..renewals.tick() {
                let worker = Arc::clone(renewals);
                if let Err(err) = threads::spawn("md-renew", move |cancel| worker.work(cancel)) {
                    renewals.worker_lost();
                    note!(Debug, "no thread for renewals: {err}");
                }
            }
        }
    }
    TICK
}

/// HTTP clients, one for each file of root certificates, so that renewals share connections.
struct SharedClients {
    ca_file: Option<String>,
    by_ca_file: Mutex<HashMap<Option<String>, Arc<dyn HttpClient>>>,
}

impl SharedClients {
    fn of(&self, md: &ManagedDomain, cancel: &Cancel) -> Arc<dyn HttpClient> {
        let ca_file = md.ca_certs.as_ref().or(self.ca_file.as_ref()).filter(|file| !file.eq_ignore_ascii_case("none"));
        let mut known = self.by_ca_file.lock().unwrap_or_else(PoisonError::into_inner);
        let client = known.entry(ca_file.cloned()).or_insert_with(|| client(ca_file, cancel));
        Arc::clone(client)
    }
}

fn client(ca_file: Option<&String>, cancel: &Cancel) -> Arc<dyn HttpClient> {
    let settings = CurlSettings {
        user_agent: format!("{} mod_md_rs/{VERSION}", process::base_version()),
        ca_file: ca_file.map(Into::into),
        ..CurlSettings::default()
    };
    Arc::new(CurlClient::new(settings, cancel.clone()))
}

/// In 0..1; a half if there is no randomness to be had.
fn random() -> f64 {
    random_bytes::<4>().map_or(0.5, |bytes| f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0))
}
