//! Renewals in the server: mod_watchdog says in which child and when, threads of that child do the work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::hooks::Stop;
use super::pool::Pool;
use super::watchdog::{self, Occasion, WatchdogError};
use super::{process, threads};
use crate::acme::{Counted, RequestCounts};
use crate::cancel::Cancel;
use crate::crypto::random_bytes;
use crate::http::{CurlClient, CurlSettings, HttpClient};
use crate::log::{note, report};
use crate::model::{Globals, ManagedDomain, Status, VERSION};
use crate::registry::{Registry, Renewals};

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
    let clients = SharedClients { defaults: Route::of_all(&registry.globals), requests, by_route: Mutex::default() };
    let clients = move |md: &ManagedDomain, cancel: &Cancel| clients.of(md, cancel);
    let renewals = Arc::new(Renewals::new(Arc::clone(registry), Box::new(clients), random));
    let registered = watchdog::register(c"_md_renew_", initial_delay, pconf, Box::new(move |on| tick(&renewals, on)));
    let Err(err) = registered else { return Ok(()) };
    match err {
        WatchdogError::Missing => report!(AH10061, "{err}, load it with LoadModule watchdog_module"),
        WatchdogError::Instance(status) => report!(AH10066, Status(status); "{err}"),
        WatchdogError::Callback(status) => report!(AH10067, Status(status); "{err}"),
    }
    if process::is_restart() { Ok(()) } else { Err(Stop) }
}

/// Nothing but a run sets the time of the next: the first comes after MDInitialDelay.
fn tick(renewals: &Arc<Renewals>, occasion: Occasion) -> Option<Duration> {
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
    (occasion == Occasion::Run).then_some(TICK)
}

/// How a CA is reached and trusted; `None` for what libcurl does without being told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Route {
    ca_file: Option<String>,
    proxy: Option<String>,
    proxy_ca_file: Option<String>,
}

impl Route {
    fn of_all(globals: &Globals) -> Self {
        let Globals { ca_file, proxy, proxy_ca_file, .. } = globals.clone();
        Self { ca_file, proxy, proxy_ca_file }
    }

    /// What a domain says for itself goes first; `none` is no file, whatever all others have.
    fn of(&self, md: &ManagedDomain) -> Self {
        let file = |own: &Option<String>, all: &Option<String>| {
            own.as_ref().or(all.as_ref()).filter(|file| !file.eq_ignore_ascii_case("none")).cloned()
        };
        Self {
            ca_file: file(&md.ca_certs, &self.ca_file),
            proxy: md.proxy_url.as_ref().or(self.proxy.as_ref()).cloned(),
            proxy_ca_file: file(&md.proxy_ca_certs, &self.proxy_ca_file),
        }
    }

    fn client(&self, cancel: &Cancel) -> Arc<dyn HttpClient> {
        let settings = CurlSettings {
            user_agent: format!("{} mod_md_rs/{VERSION}", process::base_version()),
            ca_file: self.ca_file.as_ref().map(Into::into),
            proxy: self.proxy.clone(),
            proxy_ca_file: self.proxy_ca_file.as_ref().map(Into::into),
            ..CurlSettings::default()
        };
        Arc::new(CurlClient::new(settings, cancel.clone()))
    }
}

/// HTTP clients, one for each route, so that renewals share connections.
struct SharedClients {
    defaults: Route,
    requests: Option<&'static RequestCounts>,
    by_route: Mutex<HashMap<Route, Arc<dyn HttpClient>>>,
}

impl SharedClients {
    fn of(&self, md: &ManagedDomain, cancel: &Cancel) -> Arc<dyn HttpClient> {
        let mut known = self.by_route.lock().unwrap_or_else(PoisonError::into_inner);
        let route = self.defaults.of(md);
        let new = |route: &Route| self.counted(route.client(cancel));
        Arc::clone(known.entry(route).or_insert_with_key(new))
    }

    fn counted(&self, client: Arc<dyn HttpClient>) -> Arc<dyn HttpClient> {
        match self.requests {
            Some(requests) => Arc::new(Counted::new(client, requests)),
            None => client,
        }
    }
}

/// In 0..1; a half if there is no randomness to be had.
fn random() -> f64 {
    random_bytes::<4>().map_or(0.5, |bytes| f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0))
}
