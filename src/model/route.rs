//! How a CA or a responder is reached and trusted.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Globals, ManagedDomain};

/// A way to reach and trust a CA or a responder. Each `None` stands for the usual: the roots of the system, the proxy of the
/// environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Route {
    /// `MDCACertificateFile`
    #[serde(rename = "ca-certs", skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// `MDHttpProxy`
    #[serde(rename = "proxy-url", skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// `MDHttpProxyCACertificateFile`
    #[serde(rename = "proxy-ca-certs", skip_serializing_if = "Option::is_none")]
    pub proxy_ca_file: Option<String>,
}

impl Route {
    /// Returns the route of all domains that configure none.
    #[must_use]
    pub fn of_all(globals: &Globals) -> Self {
        let Globals { ca_file, proxy, proxy_ca_file, .. } = globals.clone();
        Self { ca_file, proxy, proxy_ca_file }
    }

    /// Returns the route of a domain, whose own settings go first, or of no domain; `none` is no file, whatever all others have.
    #[must_use]
    pub fn of(&self, md: Option<&ManagedDomain>) -> Self {
        let first = |own: fn(&ManagedDomain) -> &Option<Arc<String>>, all: &Option<String>| {
            md.and_then(|md| own(md).as_deref()).or(all.as_ref()).cloned()
        };
        let is_file = |file: &String| !file.eq_ignore_ascii_case("none");
        Self {
            ca_file: first(|md| &md.ca_certs, &self.ca_file).filter(is_file),
            proxy: first(|md| &md.proxy_url, &self.proxy),
            proxy_ca_file: first(|md| &md.proxy_ca_certs, &self.proxy_ca_file).filter(is_file),
        }
    }
}
