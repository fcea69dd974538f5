//! HTTP clients of the server: how CAs and OCSP responders are reached and trusted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::process;
use crate::acme::{Counted, RequestCounts};
use crate::cancel::Cancel;
use crate::http::{CurlClient, CurlSettings, HttpClient, Proxy};
use crate::model::{Globals, ManagedDomain, VERSION};

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
pub(super) struct SharedClients {
    defaults: Route,
    requests: Option<&'static RequestCounts>,
    by_route: Mutex<HashMap<Route, Arc<dyn HttpClient>>>,
}

impl SharedClients {
    pub(super) fn new(globals: &Globals, requests: Option<&'static RequestCounts>) -> Self {
        Self { defaults: Route::of_all(globals), requests, by_route: Mutex::default() }
    }

    pub(super) fn of(&self, md: &ManagedDomain, cancel: &Cancel) -> Arc<dyn HttpClient> {
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
