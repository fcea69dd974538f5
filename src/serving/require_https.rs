//! `MDRequireHttps`: which requests are sent to https, where, and with which status.

use crate::model::{RequireHttps, url_host};

/// Challenges and the like are answered without TLS, too.
const WELL_KNOWN: &str = "/.well-known/";

/// The value of `Strict-Transport-Security` (RFC 6797): half a year.
pub const HSTS: &std::ffi::CStr = c"max-age=15768000";

/// Checks whether `MDRequireHttps` is about a request for this path.
#[must_use]
pub fn applies_to(path: Option<&str>) -> bool {
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
