//! HTTP clients of the server: how CAs and OCSP responders are reached and trusted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::http::{Counted, CurlClient, CurlSettings, HttpClient, RequestCounts};
use crate::model::{Globals, ManagedDomain, Route, VERSION};

/// Returns the settings of a client; `server` is what httpd calls itself.
fn settings(route: &Route, server: &str, limits: CurlSettings) -> CurlSettings {
    CurlSettings { user_agent: format!("{server} mod_md_rs/{VERSION}"), ..limits.by(route) }
}

/// Returns the route to OCSP responders, which are trusted for what they sign.
fn to_responders(globals: &Globals) -> Route {
    Route { ca_file: None, ..Route::of_all(globals) }
}

/// Clients for CAs, one for each route, so that renewals share connections.
pub struct CaClients {
    /// The name and version of the server.
    server: String,
    defaults: Route,
    requests: Option<&'static RequestCounts>,
    by_route: Mutex<HashMap<Route, Arc<dyn HttpClient>>>,
}

impl CaClients {
    /// Makes none yet. Requests are counted in `requests`; `server` is what httpd calls itself.
    #[must_use]
    pub fn new(globals: &Globals, server: String, requests: Option<&'static RequestCounts>) -> Self {
        Self { server, defaults: Route::of_all(globals), requests, by_route: Mutex::default() }
    }

    /// Returns the client for the CAs of a domain. Its requests end soon after the `cancel` of whoever asked for it first.
    pub fn of(&self, md: &ManagedDomain, cancel: &Cancel) -> Arc<dyn HttpClient> {
        let mut known = self.by_route.lock().unwrap_or_else(PoisonError::into_inner);
        let new = |route: &Route| self.counted(settings(route, &self.server, CurlSettings::default()), cancel);
        Arc::clone(known.entry(self.defaults.of(Some(md))).or_insert_with_key(new))
    }

    fn counted(&self, settings: CurlSettings, cancel: &Cancel) -> Arc<dyn HttpClient> {
        let client = Arc::new(CurlClient::new(settings, cancel.clone()));
        match self.requests {
            Some(requests) => Arc::new(Counted::new(client, requests)),
            None => client,
        }
    }
}

/// The way to OCSP responders.
#[derive(Debug, Clone)]
pub struct Responders {
    server: String,
    route: Route,
}

impl Responders {
    /// Takes the settings of all domains; `server` is what httpd calls itself.
    #[must_use]
    pub fn new(globals: &Globals, server: String) -> Self {
        Self { server, route: to_responders(globals) }
    }

    /// Makes a client with these limits, whose requests end soon after `cancel`.
    #[must_use]
    pub fn client(&self, connect_timeout: Duration, timeout: Duration, cancel: &Cancel) -> Arc<dyn HttpClient> {
        let limits = CurlSettings { connect_timeout, timeout, ..CurlSettings::default() };
        Arc::new(CurlClient::new(settings(&self.route, &self.server, limits), cancel.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Proxy;
    use crate::model::DomainName;

    fn globals(settings: [&str; 3]) -> Globals {
        let [ca_file, proxy, proxy_ca_file] = settings.map(|text| (!text.is_empty()).then(|| text.to_owned()));
        Globals { ca_file, proxy, proxy_ca_file, ..Globals::default() }
    }

    fn domain(settings: [&str; 3]) -> ManagedDomain {
        let [ca_certs, proxy_url, proxy_ca_certs] =
            settings.map(|text| (!text.is_empty()).then(|| Arc::new(text.to_owned())));
        let md = ManagedDomain::new(vec![DomainName::parse("a.org").unwrap()]).unwrap();
        ManagedDomain { ca_certs, proxy_url, proxy_ca_certs, ..md }
    }

    #[test]
    fn settings_of_a_domain_go_before_those_of_all() {
        let rows = [
            (["", "", ""], ["", "", ""], ["", "", ""]),
            (["ca", "proxy", "proxy-ca"], ["", "", ""], ["ca", "proxy", "proxy-ca"]),
            (["ca", "proxy", "proxy-ca"], ["own", "other", "more"], ["own", "other", "more"]),
            (["ca", "proxy", "proxy-ca"], ["None", "none", "NONE"], ["", "none", ""]),
            (["none", "none", "none"], ["", "", ""], ["", "none", ""]),
        ];
        for (all, own, expected) in rows {
            let found = Route::of_all(&globals(all)).of(Some(&domain(own)));
            assert_eq!(found, Route::of_all(&globals(expected)), "{all:?} {own:?}");
        }
    }

    #[test]
    fn domains_of_one_route_share_a_client() {
        let clients = CaClients::new(&globals(["", "http://proxy.test", ""]), "Apache/2.4".to_owned(), None);
        let of = |settings| clients.of(&domain(settings), &Cancel::default());
        assert!(Arc::ptr_eq(&of(["", "", ""]), &of(["none", "http://proxy.test", ""])));
        assert!(!Arc::ptr_eq(&of(["", "", ""]), &of(["", "none", ""])));
    }

    #[test]
    fn a_responder_is_reached_through_the_proxy_and_trusted_for_its_signature() {
        let responders = Responders::new(&globals(["ca.pem", "none", "proxy.pem"]), "Apache/2.4".to_owned());
        let settings = settings(&responders.route, &responders.server, CurlSettings::default());
        assert_eq!(settings.user_agent, format!("Apache/2.4 mod_md_rs/{VERSION}"));
        assert_eq!((settings.ca_file, settings.proxy), (None, Proxy::Never));
        assert_eq!(settings.proxy_ca_file.as_deref(), Some("proxy.pem".as_ref()));
    }
}
