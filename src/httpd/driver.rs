//! Renewals in the server: mod_watchdog says in which child and when, threads of that child do the work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::c::pool::Pool;
use super::hooks::Stop;
use super::watchdog::{self, Failures, Occasion};
use super::{process, threads};
use crate::acme::{Counted, RequestCounts};
use crate::cancel::Cancel;
use crate::crypto::random_fraction;
use crate::http::{CurlClient, CurlSettings, HttpClient, Proxy};
use crate::log::{AH10061, AH10066, AH10067, report};
use crate::model::{Globals, ManagedDomain, VERSION};
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

/// How a CA is reached and trusted; `None` for what is usual: the roots of the system, the proxy of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Route {
    ca_file: Option<String>,
    proxy: Option<String>,
    proxy_ca_file: Option<String>,
}

impl Route {
    fn of_all(globals: &Globals) -> Self {
        let Globals { ca_file, proxy, proxy_ca_file, .. } = globals.clone();
        Self { ca_file, proxy, proxy_ca_file }
    }

    /// OCSP responders are trusted for what they sign.
    pub(super) fn to_responders(globals: &Globals) -> Self {
        Self { ca_file: None, ..Self::of_all(globals) }
    }

    /// What a domain says for itself goes first; `none` is no file, whatever all others have.
    fn of(&self, md: &ManagedDomain) -> Self {
        let file = |own: &Option<Arc<String>>, all: &Option<String>| {
            own.as_deref().or(all.as_ref()).filter(|file| !file.eq_ignore_ascii_case("none")).cloned()
        };
        Self {
            ca_file: file(&md.ca_certs, &self.ca_file),
            proxy: md.proxy_url.as_deref().or(self.proxy.as_ref()).cloned(),
            proxy_ca_file: file(&md.proxy_ca_certs, &self.proxy_ca_file),
        }
    }

    pub(super) fn settings(&self, limits: CurlSettings) -> CurlSettings {
        CurlSettings {
            user_agent: format!("{} mod_md_rs/{VERSION}", process::base_version()),
            ca_file: self.ca_file.as_ref().map(Into::into),
            proxy: Proxy::configured(self.proxy.as_deref()),
            proxy_ca_file: self.proxy_ca_file.as_ref().map(Into::into),
            ..limits
        }
    }

    fn client(&self, cancel: &Cancel) -> Arc<dyn HttpClient> {
        Arc::new(CurlClient::new(self.settings(CurlSettings::default()), cancel.clone()))
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
