//! URLs: whether one is protected, and without the passwords that some have.

use std::borrow::Cow;

use serde_json::Value;
use url::Url;

/// The most bytes of a URL that a page links to.
const LONGEST: usize = 1 << 10;

/// Whether requests to this URL go over the network without TLS.
#[must_use]
pub fn is_plain_http(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "http")
}

/// Whether this is a URL of http or https of at most a kilobyte, which a page can link to and a request can go to.
#[must_use]
pub fn is_web_url(url: &str) -> bool {
    let is_web = |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    url.len() <= LONGEST && url.bytes().all(|byte| byte.is_ascii_graphic()) && Url::parse(url).is_ok_and(is_web)
}

/// Returns a text that may be shown: three asterisks stand for the user and the password of each URL in it.
#[must_use]
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    let mut parts = text.split("://");
    if !text.contains('@') {
        return Cow::Borrowed(text);
    }
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_whitespace() || "/?#<>".contains(c) || c == '"').unwrap_or(part.len());
        let host = part[..end].rfind('@');
        shown += "://";
        shown += host.map_or("", |_| "***");
        shown += &part[host.unwrap_or_default()..];
    }
    Cow::Owned(shown)
}

/// Hides the users and passwords of URLs in all texts of a JSON value.
pub fn hide_passwords(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(shown) = without_passwords(text) {
                *text = shown;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide_passwords),
        Value::Object(members) => members.values_mut().for_each(hide_passwords),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn users_and_passwords_of_urls_are_not_shown() {
        let rows = [
            ("https://ca.test/directory", "https://ca.test/directory"),
            ("https://user:secret@ca.test/a@b", "https://***@ca.test/a@b"),
            ("http://secret@p.test:3128", "http://***@p.test:3128"),
            ("at <https://u:se@cret@ca.test/d>: no", "at <https://***@ca.test/d>: no"),
            ("'http://u:secret@a' and 'https://u:secret@b'", "'http://***@a' and 'https://***@b'"),
            ("see https://ca.test or admin@ca.test", "see https://ca.test or admin@ca.test"),
            ("mailto:admin@ca.test", "mailto:admin@ca.test"),
            ("https://", "https://"),
            ("", ""),
        ];
        for (text, expected) in rows {
            assert_eq!(without_passwords(text), expected);
        }
        let mut value = json!({ "ca": { "urls": ["https://u:secret@ca.test/"], "n": 7 }, "url": "http://u:secret@a" });
        hide_passwords(&mut value);
        assert_eq!(value, json!({ "ca": { "urls": ["https://***@ca.test/"], "n": 7 }, "url": "http://***@a" }));
    }

    #[test]
    fn a_link_is_a_short_url_of_http_or_https() {
        let long = format!("http://ocsp.test/{}", "x".repeat(LONGEST));
        let rows = [
            ("http://ocsp.test", true),
            ("HTTPS://[2001:db8::1]:80/x", true),
            ("javascript:alert(1)", false),
            ("ldap://ldap.test/cn=CA", false),
            ("http://", false),
            ("http://ocsp.test/\u{1b}[2J", false),
            ("http://ocsp.test/\n", false),
            ("http://ocsp.test/ü", false),
            (&long, false),
            ("", false),
        ];
        for (url, expected) in rows {
            assert_eq!(is_web_url(url), expected, "{url:?}");
        }
    }

    #[test]
    fn http_without_tls_is_told_from_everything_else() {
        for (url, expected) in
            [("http://ca.test/", true), ("HTTP://ca.test", true), ("https://ca.test", false), ("", false)]
        {
            assert_eq!(is_plain_http(url), expected, "{url}");
        }
        assert!(!is_plain_http("file://localhost/run/tailscaled.sock"));
    }
}
