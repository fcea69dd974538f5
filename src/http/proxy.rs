//! Chooses the proxy of a request: the configured one, or the one of the environment by libcurl's rules.
//!
//! libcurl would read the environment by itself, but does not report which variable it took, and the log names the variable
//! that
//! the administrator has to change.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use url::{Host, Url};

/// The configured use of proxies (`MDHttpProxy`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proxy {
    /// The environment decides, as nothing is configured.
    #[default]
    Environment,
    /// No proxy is used (`MDHttpProxy none`).
    Never,
    /// The proxy with this URL.
    At(String),
}

/// The directive that configures a proxy.
pub(super) const DIRECTIVE: &str = "MDHttpProxy";

/// The proxy of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The URL of the proxy, as written.
    pub url: String,
    /// The directive or variable that names the proxy.
    pub source: &'static str,
}

impl Proxy {
    /// Reads the value of `MDHttpProxy`, if configured.
    #[must_use]
    pub fn configured(value: Option<&str>) -> Self {
        match value {
            None => Self::Environment,
            Some(none) if none.eq_ignore_ascii_case("none") => Self::Never,
            Some(url) => Self::At(url.to_owned()),
        }
    }

    /// Returns the proxy for a request to this URL; `None` if it needs none. `variable` returns the value of an environment
    /// variable.
    #[must_use]
    pub fn choose(&self, url: &Url, variable: impl Fn(&str) -> Option<String>) -> Option<Chosen> {
        match self {
            Self::Never => None,
            Self::At(url) => Some(Chosen { url: url.clone(), source: DIRECTIVE }),
            Self::Environment => of_environment(url, |name| variable(name).filter(|value| !value.is_empty())),
        }
    }
}

impl Chosen {
    /// Returns host and port, as the URL may have a password.
    #[must_use]
    pub fn name(&self) -> String {
        let text = if self.url.contains("://") { self.url.clone() } else { format!("http://{}", self.url) };
        let url = Url::parse(&text).ok();
        let port = |url: &Url| url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        let name = url.as_ref().and_then(|url| Some(format!("{}{}", url.host_str()?, port(url))));
        name.unwrap_or_else(|| "that is configured".to_owned())
    }
}

/// Ignores `HTTP_PROXY` in capitals, as libcurl does: a client of a CGI program can set it by the header `Proxy`.
const OF_HTTP: &[&str] = &["http_proxy", "all_proxy", "ALL_PROXY"];
const OF_HTTPS: &[&str] = &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

fn of_environment(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Option<Chosen> {
    let names = if url.scheme() == "https" { OF_HTTPS } else { OF_HTTP };
    let chosen = names.iter().find_map(|source| variable(source).map(|url| Chosen { url, source }))?;
    let exempt = variable("no_proxy").or_else(|| variable("NO_PROXY")).unwrap_or_default();
    (!is_exempt(url.host()?, &exempt)).then_some(chosen)
}

/// Whether an entry of `no_proxy` matches the host: `*` for all hosts, a name with all names below it, or addresses.
fn is_exempt(host: Host<&str>, entries: &str) -> bool {
    if entries.trim() == "*" {
        return true;
    }
    let mut entries = entries.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
    match host {
        Host::Domain(name) => entries.any(|entry| is_below(name, entry)),
        Host::Ipv4(address) => entries.any(|entry| has_address(entry, address.into())),
        Host::Ipv6(address) => entries.any(|entry| has_address(entry, address.into())),
    }
}

fn is_below(name: &str, entry: &str) -> bool {
    let entry = entry.strip_prefix('.').unwrap_or(entry);
    let [name, entry] = [name, entry].map(|text| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase());
    !entry.is_empty() && name.strip_suffix(&entry).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether an entry that is an address, or a network as an address with a number of bits, matches the host.
fn has_address(entry: &str, address: IpAddr) -> bool {
    let (network, bits) = entry.split_once('/').map_or((entry, None), |(network, bits)| (network, Some(bits)));
    let Ok(network) = network.parse::<IpAddr>() else { return false };
    let (a, b, width) = match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let Ok(bits) = bits.map_or(Ok(width), str::parse::<u32>) else { return false };
    // Rust does not shift by the full number of bits.
    bits <= width && (a ^ b).checked_shr(width - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(proxy: &Proxy, url: &str, environment: &[(&str, &str)]) -> Option<(String, &'static str)> {
        let variable =
            |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let chosen = proxy.choose(&Url::parse(url).unwrap(), variable)?;
        Some((chosen.url, chosen.source))
    }

    #[test]
    fn the_environment_is_read_as_libcurl_does() {
        const CA: &str = "https://acme.ca.test/dir";
        const RESPONDER: &str = "http://ocsp.ca.test/";
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<(&'a str, &'a str)>);
        let rows: [Row<'_>; 13] = [
            (CA, &[], None),
            (CA, &[("https_proxy", "http://p:1")], Some(("http://p:1", "https_proxy"))),
            (CA, &[("HTTPS_PROXY", "p:1")], Some(("p:1", "HTTPS_PROXY"))),
            (CA, &[("HTTPS_PROXY", "b"), ("https_proxy", "a")], Some(("a", "https_proxy"))),
            (CA, &[("http_proxy", "a")], None),
            (CA, &[("ALL_PROXY", "a")], Some(("a", "ALL_PROXY"))),
            (CA, &[("all_proxy", "a"), ("https_proxy", "")], Some(("a", "all_proxy"))),
            (CA, &[("https_proxy", "a"), ("no_proxy", "")], Some(("a", "https_proxy"))),
            (CA, &[("https_proxy", "a"), ("no_proxy", "x.test, ca.test")], None),
            (CA, &[("https_proxy", "a"), ("NO_PROXY", "*")], None),
            (RESPONDER, &[("HTTP_PROXY", "a"), ("https_proxy", "b")], None),
            (RESPONDER, &[("http_proxy", "a")], Some(("a", "http_proxy"))),
            (RESPONDER, &[("all_proxy", "a")], Some(("a", "all_proxy"))),
        ];
        for (url, environment, expected) in rows {
            let expected = expected.map(|(proxy, source)| (proxy.to_owned(), source));
            assert_eq!(chosen(&Proxy::Environment, url, environment), expected, "{url} {environment:?}");
        }
    }

    #[test]
    fn what_is_configured_goes_first() {
        let environment = [("https_proxy", "http://other:1"), ("no_proxy", "*")];
        let choose = |value| chosen(&Proxy::configured(Some(value)), "https://ca.test/", &environment);
        assert_eq!(choose("http://p:1"), Some(("http://p:1".to_owned(), "MDHttpProxy")));
        assert_eq!((choose("none"), choose("NONE")), (None, None));
        assert_eq!(Proxy::configured(None), Proxy::Environment);
    }

    #[test]
    fn names_and_addresses_are_exempt() {
        let rows = [
            ("ca.test", "ca.test", true),
            ("acme.CA.test.", ".ca.test", true),
            ("acmeca.test", "ca.test", false),
            ("ca.test", "acme.ca.test", false),
            ("ca.test", "*.test , .", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.0/24", true),
            ("192.0.3.7", "192.0.2.0/24", false),
            ("192.0.2.7", "0.0.0.0/0", true),
            ("192.0.2.7", "2.7 192.0.2.0/33 192.0.2.0/x", false),
            ("[2001:db8::1]", "2001:db8::1", true),
            ("[2001:db8::1]", "[2001:db8::]/32", false),
            ("[2001:db8::1]", "2001:db8::/32", true),
            ("[2001:db8::1]", "192.0.2.0/0", false),
        ];
        for (host, entries, expected) in rows {
            let url = Url::parse(&format!("https://{host}/")).unwrap();
            assert_eq!(is_exempt(url.host().unwrap(), entries), expected, "{host} {entries}");
        }
    }

    #[test]
    fn the_name_of_a_proxy_is_without_its_password() {
        let name = |url: &str| Chosen { url: url.to_owned(), source: "https_proxy" }.name();
        assert_eq!(name("http://user:secret@p.test:3128/"), "p.test:3128");
        assert_eq!(name("user:secret@p.test:3128"), "p.test:3128");
        assert_eq!(name("socks5://p.test:1080"), "p.test:1080");
        assert_eq!((name("http://p.test"), name("secret@")), ("p.test:80".to_owned(), "that is configured".to_owned()));
    }
}
