//! `MDRequireHttps`: which requests are sent to https, where, and with which status.

use crate::model::{DomainName, RequireHttps, url_host};
use crate::registry::Registry;

/// Challenges and the like are answered without TLS, too.
const WELL_KNOWN: &str = "/.well-known/";

/// The value of `Strict-Transport-Security` (RFC 6797): half a year.
pub const HSTS: &std::ffi::CStr = c"max-age=15768000";

/// Returns what `MDRequireHttps` of a domain requires of a request for this path: a domain of the host at `position` that has the
/// `name` by which the server is known there.
pub fn required(
    registry: &Registry,
    position: usize,
    path: Option<&str>,
    name: impl FnOnce() -> Option<DomainName>,
) -> Option<RequireHttps> {
    if !applies_to(path) || registry.domains_at(position).all(|md| md.require_https.is_none()) {
        return None;
    }
    let name = name()?;
    registry.domains_at(position).find(|md| md.covers(&name))?.require_https
}

/// Checks whether `MDRequireHttps` is about a request for this path.
fn applies_to(path: Option<&str>) -> bool {
    path.is_some_and(|path| !path.starts_with(WELL_KNOWN))
}

/// Returns the URL with `https` of a request to the host `name`; `None` if what is asked for is no path.
#[must_use]
pub fn location(name: &str, path: &str, query: Option<&str>) -> Option<String> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    path.starts_with('/').then(|| format!("https://{}{path}{query}", url_host(name)))
}

/// Returns the status of the redirect. Methods other than GET and HEAD are to be repeated as they are (RFC 9110 section 15.4).
#[must_use]
pub fn status(require: RequireHttps, is_get_or_head: bool) -> u16 {
    match (require, is_get_or_head) {
        (RequireHttps::Temporary, true) => 302,
        (RequireHttps::Temporary, false) => 307,
        (RequireHttps::Permanent, true) => 301,
        (RequireHttps::Permanent, false) => 308,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestServer;

    #[test]
    fn a_domain_requires_https_at_its_own_host() {
        let mut server = TestServer::new(&["a.test", "b.test"]);
        server.declared[0].settings.require_https = Some(Some(RequireHttps::Permanent));
        let registry = server.start(false);
        let rows = [
            (0, "/", "a.test", Some(RequireHttps::Permanent)),
            (0, "/.well-known/x", "a.test", None),
            (0, "/", "b.test", None),
            (1, "/", "a.test", None),
            (1, "/", "b.test", None),
            (7, "/", "a.test", None),
        ];
        for (position, path, name, expected) in rows {
            let name = || DomainName::parse(name).ok();
            assert_eq!(required(&registry, position, Some(path), name), expected, "{position} {path}");
        }
        assert_eq!(required(&registry, 0, Some("/"), || None), None);
    }

    #[test]
    fn well_known_paths_stay_without_tls() {
        let rows = [
            (Some("/"), true),
            (Some("/.well-known"), true),
            (Some("/.well-known/acme-challenge/t"), false),
            (Some("/.well-known/security.txt"), false),
            (Some("*"), true),
            (None, false),
        ];
        for (path, expected) in rows {
            assert_eq!(applies_to(path), expected, "{path:?}");
        }
    }

    #[test]
    fn a_location_keeps_path_and_query() {
        let rows = [
            ("a.org", "/", None, Some("https://a.org/")),
            ("a.org", "/a%20b", Some("c=d&e"), Some("https://a.org/a%20b?c=d&e")),
            ("a.org", "/", Some(""), Some("https://a.org/?")),
            ("192.0.2.1", "/x", None, Some("https://192.0.2.1/x")),
            ("2001:db8::1", "/x", None, Some("https://[2001:db8::1]/x")),
            ("a.org", "*", None, None),
            ("a.org", "", None, None),
        ];
        for (name, path, query, expected) in rows {
            assert_eq!(location(name, path, query).as_deref(), expected, "{name} {path}");
        }
    }

    #[test]
    fn a_redirect_keeps_the_method_of_what_changes_something() {
        let rows = [
            (RequireHttps::Temporary, true, 302),
            (RequireHttps::Temporary, false, 307),
            (RequireHttps::Permanent, true, 301),
            (RequireHttps::Permanent, false, 308),
        ];
        for (require, is_get_or_head, expected) in rows {
            assert_eq!(status(require, is_get_or_head), expected, "{require:?}");
        }
    }
}
