//! DNS names and addresses of a managed domain, as they are compared, stored and sent to a CA.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::address::{is_global, plain_host};

/// A name in the form in which names are compared and stored: of a managed domain, a virtual host, or the client's request or
/// handshake. Lower case, A-labels, no root dot, no port, IPv6 addresses as short as can be (RFC 5952) and without brackets;
/// fit to
/// be the name of a directory. May be a wildcard (`*.example.org`) or an IP address (RFC 8738). Clones share the text.
///
/// Nothing else is checked: public CAs have their own rules for the names that they accept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(Arc<str>);

/// Why a text cannot be the name of a managed domain.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    /// The text is empty.
    #[error("a domain name must not be empty")]
    Empty,
    /// The name could not be used as a directory below the store.
    #[error("'{0}' cannot be a domain name: blanks, '/', control characters and a leading '.' are not allowed")]
    Unusable(String),
    /// The name is longer than a file name may be.
    #[error("'{0}' is longer than the 253 characters that a domain name may have")]
    TooLong(String),
    /// The name is not a valid internationalized name.
    #[error("'{0}' cannot be written as an internationalized domain name")]
    NotIdna(String),
    /// Only IPv6 addresses stand in brackets.
    #[error("'{0}' is not an IPv6 address, which only may stand in brackets")]
    NotAddress(String),
}

/// A name or address as orders have it (RFC 8555 section 9.7.7, RFC 8738 section 3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
pub enum Identifier {
    /// A DNS name, possibly a wildcard.
    Dns(String),
    /// An address in its canonical text form.
    Ip(IpAddr),
}

impl DomainName {
    /// Parses a name from a configuration or from a client.
    ///
    /// # Errors
    /// If the name could not be the name of a directory, or not be sent to a CA.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        canonical(text).map(|name| Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is a wildcard.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Whether a certificate for this name covers `other`: an equal name, or one label below a wildcard. An address is below no
    /// wildcard.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let (Some(parent), Some((label, rest))) = (self.0.strip_prefix("*."), other.0.split_once('.')) else {
            return false;
        };
        label != "*" && rest == parent && other.address().is_none()
    }

    /// Returns the address, if the name is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// Returns why no public CA issues certificates for this name; `None` if one may. Names are judged by their form and by the
    /// reserved domains (RFC 6761, 6762, 7686, 8375, 9476 and ICANN's `internal`), addresses by whether they are global.
    #[must_use]
    pub fn not_public(&self) -> Option<&'static str> {
        match self.address() {
            Some(ip) => (!is_global(ip)).then_some(NOT_GLOBAL),
            None => not_public_name(self.0.strip_prefix("*.").unwrap_or(&self.0)),
        }
    }

    /// Returns why no CA at all, public or private, issues certificates for this name, as it is none; `None` if it is one. An underscore
    /// may be in names of private networks.
    #[must_use]
    pub fn not_a_name(&self) -> Option<&'static str> {
        if self.address().is_some() {
            return None;
        }
        let labels = || self.0.strip_prefix("*.").unwrap_or(&self.0).split('.');
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        match () {
            () if labels().any(str::is_empty) => Some("two dots in a row"),
            () if labels().any(|label| label.len() > 63) => Some("more than 63 characters between dots"),
            () if labels().any(|label| label.contains('*')) => Some("a '*' that is not the whole first part"),
            () if !labels().all(|label| label.bytes().all(is_known)) => {
                Some("other characters than letters, digits and hyphens")
            }
            () => None,
        }
    }

    /// Returns the name with the characters that its A-labels stand for.
    #[must_use]
    pub fn to_unicode(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }

    /// Returns the identifier for an order.
    #[must_use]
    pub fn identifier(&self) -> Identifier {
        self.address().map_or_else(|| Identifier::Dns(self.0.to_string()), Identifier::Ip)
    }
}

/// Characters of the longest domain name (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;

/// Returns the form in which names are compared. Nearly all names have it already: they are checked once, and borrowed.
fn canonical(text: &str) -> Result<Cow<'_, str>, NameError> {
    let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*');
    let has_dot_at_end = text.starts_with('.') || text.ends_with('.');
    if text.bytes().all(is_plain) && !has_dot_at_end && (1..=LONGEST).contains(&text.len()) {
        return Ok(Cow::Borrowed(text));
    }
    let text = without_port(text.trim_end_matches('.')).trim_end_matches('.');
    let name = to_ascii(text).ok_or_else(|| NameError::NotIdna(text.escape_debug().to_string()))?;
    let name = name.trim_end_matches('.');
    // Checked after the conversion: some letters become a '/', a blank or a dot, or nothing.
    if name.starts_with('.') || name.chars().any(|c| c == '/' || c.is_whitespace() || c.is_control()) {
        return Err(NameError::Unusable(text.escape_default().to_string()));
    }
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    let name = plain_host(name).into_owned();
    if name.starts_with('[') {
        return Err(NameError::NotAddress(name));
    }
    if name.len() > LONGEST { Err(NameError::TooLong(name)) } else { Ok(Cow::Owned(name)) }
}

/// Removes the port, as certificates are for names on any port.
fn without_port(text: &str) -> &str {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = |host: &str| !host.contains(':') || host.ends_with(']');
    text.rsplit_once(':').filter(|(host, port)| is_port(port) && is_host(host)).map_or(text, |(host, _)| host)
}

/// Converts labels in UTF-8 to A-labels, others to lower case; `None` if a label has no A-label.
pub(super) fn to_ascii(text: &str) -> Option<String> {
    if text.is_ascii() { Some(text.to_ascii_lowercase()) } else { idna::domain_to_ascii(text).ok() }
}

const NOT_GLOBAL: &str = "not an address of the public internet";

/// The domains that stay private.
const RESERVED: [&str; 12] = [
    "alt",
    "corp",
    "example",
    "home",
    "home.arpa",
    "internal",
    "invalid",
    "lan",
    "local",
    "localhost",
    "onion",
    "test",
];

fn not_public_name(name: &str) -> Option<&'static str> {
    let mut labels = name.split('.');
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_below = |end: &&str| name.strip_suffix(*end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if !labels.all(is_label) {
        Some("not letters, digits and hyphens between dots")
    } else if !name.contains('.') {
        Some("no dot")
    } else if name.rsplit('.').next().is_some_and(|top| top.bytes().all(|byte| byte.is_ascii_digit())) {
        Some("ends with a number")
    } else {
        RESERVED.iter().any(is_below).then_some("a reserved name")
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for DomainName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DomainName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0.to_string()
    }
}

impl Identifier {
    /// The value as text: the name, or the address.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::Dns(name) => name.clone(),
            Self::Ip(ip) => ip.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_lower_case_and_fit_for_a_directory() {
        let rows = [
            ("Example.ORG", Ok("example.org")),
            ("*.Example.org", Ok("*.example.org")),
            ("example.org.", Ok("example.org")),
            ("bücher.example", Ok("xn--bcher-kva.example")),
            ("*.bücher.example", Ok("*.xn--bcher-kva.example")),
            ("2001:DB8:0:0::1", Ok("2001:db8::1")),
            ("[2001:DB8::1]", Ok("2001:db8::1")),
            ("192.0.2.1", Ok("192.0.2.1")),
            ("[192.0.2.1]", Err(NameError::NotAddress("[192.0.2.1]".into()))),
            ("[2001:db8::1]:x", Err(NameError::NotAddress("[2001:db8::1]:x".into()))),
            (":443", Err(NameError::Empty)),
            ("[fe80::1%eth0]", Err(NameError::NotAddress("[fe80::1%eth0]".into()))),
            ("!", Ok("!")),
            ("", Err(NameError::Empty)),
            ("a/b", Err(NameError::Unusable("a/b".into()))),
            ("..", Err(NameError::Empty)),
            (".hidden", Err(NameError::Unusable(".hidden".into()))),
            ("a b", Err(NameError::Unusable("a b".into()))),
            ("a\u{ff0f}b", Err(NameError::Unusable("a\\u{ff0f}b".into()))),
            ("\u{ad}", Err(NameError::Empty)),
            ("\u{3002}", Err(NameError::Empty)),
            ("\u{3002}example.org", Err(NameError::Unusable("\\u{3002}example.org".into()))),
            ("b\u{fffd}cher.example.org", Err(NameError::NotIdna("b\u{fffd}cher.example.org".into()))),
            ("\u{1b}[2J\u{fffd}.org", Err(NameError::NotIdna("\\u{1b}[2J\u{fffd}.org".into()))),
        ];
        for (text, expected) in rows {
            assert_eq!(DomainName::parse(text).map(String::from), expected.map(str::to_owned), "{text}");
        }
        for text in ["a".repeat(254), "\u{fc}".repeat(254), format!("{}.", "A".repeat(254))] {
            assert!(matches!(DomainName::parse(&text), Err(NameError::TooLong(_))), "{text}");
        }
        assert!(DomainName::parse(&format!("{}.", "a".repeat(253))).is_ok());
    }

    #[test]
    fn all_spellings_of_a_name_are_one() {
        let rows: [(&str, &[&str]); 6] = [
            (
                "xn--mller-kva.example.org",
                &[
                    "m\u{fc}ller.example.org.",
                    "M\u{dc}LLER.Example.ORG",
                    "mu\u{308}ller.example.org",
                    "XN--MLLER-KVA.EXAMPLE.ORG",
                    "m\u{fc}ller\u{3002}example\u{ff0e}org\u{3002}",
                ],
            ),
            ("*.xn--mller-kva.example.org", &["*.m\u{fc}ller.example.org", "*.M\u{dc}LLER.example.org."]),
            (
                "example.org",
                &[
                    "EXAMPLE.org.",
                    "example.org..",
                    "\u{ff45}xample.org",
                    "exam\u{ad}ple.org",
                    "example.org:443",
                    "example.org.:443",
                    "example.org:443.",
                ],
            ),
            ("under_score.example.org", &["Under_Score.example.org."]),
            ("2001:db8::1", &["[2001:DB8::1]", "2001:0db8:0:0::0001", "[2001:db8::1].", "[2001:db8::1]:443"]),
            ("192.0.2.1", &["192.0.2.1.", "\u{ff11}92.0.2.1", "192.0.2.1:8443"]),
        ];
        for (canonical, spellings) in rows {
            let name = DomainName::parse(canonical).unwrap();
            assert_eq!(name.as_str(), canonical);
            for spelling in spellings {
                assert_eq!(DomainName::parse(spelling).as_ref(), Ok(&name), "{spelling}");
            }
        }
        assert_eq!(DomainName::parse("xn--mller-kva.example.org").unwrap().to_unicode(), "m\u{fc}ller.example.org");
    }

    #[test]
    fn a_canonical_name_is_taken_as_it_is() {
        let is_borrowed = |text| matches!(canonical(text), Ok(Cow::Borrowed(same)) if std::ptr::eq(same, text));
        for text in
            ["example.org", "*.example.org", "xn--mller-kva.example.org", "under_score.a-b.example.org", "192.0.2.1"]
        {
            assert!(is_borrowed(text), "{text}");
        }
        for text in ["Example.org", "example.org.", "2001:DB8::1", "m\u{fc}ller.example.org"] {
            assert!(!is_borrowed(text), "{text}");
        }
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let rows = [
            ("*.x.org", "a.x.org", true),
            ("*.x.org", "A.X.org", true),
            ("*.x.org", "x.org", false),
            ("*.x.org", "a.b.x.org", false),
            ("*.x.org", "*.x.org", true),
            ("x.org", "X.ORG", true),
            ("x.org", "*.org", false),
            ("*.0.2.1", "192.0.2.1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("2001:db8::1", "2001:DB8::1", true),
        ];
        for (name, other, expected) in rows {
            let [own, other] = [name, other].map(|text| DomainName::parse(text).unwrap());
            assert_eq!(own.covers(&other), expected, "{own} {other}");
        }
    }

    #[test]
    fn names_that_no_public_ca_takes() {
        let form = Some("not letters, digits and hyphens between dots");
        let reserved = Some("a reserved name");
        let global = Some(NOT_GLOBAL);
        let rows = [
            ("example.org", None),
            ("*.example.org", None),
            ("xn--bcher-kva.example.org", None),
            ("local.example.org", None),
            ("mylocal", Some("no dot")),
            ("*.org", Some("no dot")),
            ("intranet", Some("no dot")),
            ("a.local", reserved),
            ("a.b.internal", reserved),
            ("router.home.arpa", reserved),
            ("home.example.org", None),
            ("x.test", reserved),
            ("under_score.example.org", form),
            ("a.*.example.org", form),
            ("*.*.example.org", form),
            ("-a.example.org", form),
            ("a-.example.org", form),
            ("a..example.org", form),
            ("host.123", Some("ends with a number")),
            ("192.0.2.1", global),
            ("10.0.0.1", global),
            ("172.20.1.1", global),
            ("100.64.0.1", global),
            ("127.0.0.1", global),
            ("169.254.1.1", global),
            ("255.255.255.255", global),
            ("8.8.8.8", None),
            ("::1", global),
            ("fe80::1", global),
            ("fd00::1", global),
            ("2001:db8::1", global),
            ("2a00:1450::1", None),
        ];
        for (name, expected) in rows {
            assert_eq!(DomainName::parse(name).unwrap().not_public(), expected, "{name}");
        }
        let long = format!("{}.example.org", "a".repeat(64));
        assert_eq!(DomainName::parse(&long).unwrap().not_public(), form);
    }

    proptest! {
        #[test]
        fn parsing_keeps_a_parsed_name(text in "\\PC{0,20}") {
            if let Ok(name) = DomainName::parse(&text) {
                prop_assert_eq!(DomainName::parse(name.as_str()), Ok(name.clone()));
                prop_assert_eq!(DomainName::parse(&name.as_str().to_ascii_uppercase()), Ok(name.clone()));
                prop_assert_eq!(DomainName::parse(&format!("{name}.")), Ok(name.clone()));
                prop_assert!(name.covers(&name));
            }
        }

        #[test]
        fn a_wildcard_covers_a_label_and_no_more(label in "[a-z0-9-]{1,8}", below in "[a-z]{1,4}", parent in "[a-z]{1,8}\\.[a-z]{2,4}") {
            let wildcard = DomainName::parse(&format!("*.{parent}")).unwrap();
            let covers = |text: &str| wildcard.covers(&DomainName::parse(text).unwrap());
            let below_it = format!("{label}.{parent}");
            prop_assert!(covers(&below_it));
            let others = [parent.clone(), format!("{below}.{label}.{parent}"), format!("{label}.{below}.{parent}"), format!("{label}{parent}")];
            for other in others.iter().filter(|other| other.split_once('.').is_none_or(|(_, rest)| rest != parent)) {
                prop_assert!(!covers(other), "{}", other);
            }
        }
    }

    #[test]
    fn addresses_are_ordered_as_type_ip() {
        let json = |name| serde_json::to_string(&DomainName::parse(name).unwrap().identifier()).unwrap();
        assert_eq!(json("2001:DB8::1"), r#"{"type":"ip","value":"2001:db8::1"}"#);
        assert_eq!(json("192.0.2.1"), r#"{"type":"ip","value":"192.0.2.1"}"#);
        assert_eq!(json("*.x.org"), r#"{"type":"dns","value":"*.x.org"}"#);
    }
}
