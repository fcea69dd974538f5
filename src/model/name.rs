//! DNS names and addresses of a managed domain, as they are compared, stored and sent to a CA.

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::address::{is_global, plain_host};

/// A name of a managed domain: lower case, an A-label where it was given in UTF-8, and fit to be the name of a directory.
/// May be a wildcard (`*.example.org`) or an IP address (RFC 8738). Copies share the text.
///
/// What public CAs accept is theirs to say, so nothing else is checked.
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

/// What an order asks for (RFC 8555 section 9.7.7, RFC 8738 section 3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
pub enum Identifier {
    /// A DNS name, possibly a wildcard.
    Dns(String),
    /// An address in its canonical text form.
    Ip(IpAddr),
}

impl DomainName {
    /// Takes a name as written in a configuration. An IPv6 address may stand in brackets.
    ///
    /// # Errors
    /// If the name could not be stored as a directory or be sent to a CA at all.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.trim_end_matches('.');
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let name = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            let (star, rest) = text.strip_prefix("*.").map_or(("", text), |rest| ("*.", rest));
            let ascii = idna::domain_to_ascii(rest).map_err(|_| NameError::NotIdna(text.to_owned()))?;
            format!("{star}{}", ascii.trim_end_matches('.'))
        };
        // Not before: some letters become a '/' or a blank.
        if name.starts_with('.') || name.chars().any(|c| c == '/' || c.is_whitespace() || c.is_control()) {
            return Err(NameError::Unusable(text.escape_default().to_string()));
        }
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        let name = plain_host(&name).into_owned();
        if name.starts_with('[') {
            return Err(NameError::NotAddress(name));
        }
        if name.len() > 253 { Err(NameError::TooLong(name)) } else { Ok(Self(name.into())) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `*.` and a name.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Whether a certificate for this name is good for `other`: the same name, or one label below a wildcard. An address is
    /// below none.
    #[must_use]
    pub fn covers(&self, other: &str) -> bool {
        if self.0.eq_ignore_ascii_case(other) {
            return true;
        }
        let (Some(parent), Some((label, rest))) = (self.0.strip_prefix("*."), other.split_once('.')) else {
            return false;
        };
        !label.is_empty() && label != "*" && rest.eq_ignore_ascii_case(parent) && other.parse::<IpAddr>().is_err()
    }

    /// The address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// Why no public CA gives a certificate for this name; `None` if one may. Names are judged by their form and by what is
    /// reserved (RFC 6761, 6762, 7686, 8375, 9476 and ICANN's `internal`), addresses by what is not global.
    #[must_use]
    pub fn not_public(&self) -> Option<&'static str> {
        match self.address() {
            Some(ip) => (!is_global(ip)).then_some(NOT_GLOBAL),
            None => not_public_name(self.0.strip_prefix("*.").unwrap_or(&self.0)),
        }
    }

    /// What to order for this name.
    #[must_use]
    pub fn identifier(&self) -> Identifier {
        self.address().map_or_else(|| Identifier::Dns(self.0.to_string()), Identifier::Ip)
    }
}

const NOT_GLOBAL: &str = "not an address of the public internet";

/// Ends of names that stay private.
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
            ("[2001:db8::1]:443", Err(NameError::NotAddress("[2001:db8::1]:443".into()))),
            ("[fe80::1%eth0]", Err(NameError::NotAddress("[fe80::1%eth0]".into()))),
            ("!", Ok("!")),
            ("", Err(NameError::Empty)),
            ("a/b", Err(NameError::Unusable("a/b".into()))),
            ("..", Err(NameError::Empty)),
            (".hidden", Err(NameError::Unusable(".hidden".into()))),
            ("a b", Err(NameError::Unusable("a b".into()))),
            ("a\u{ff0f}b", Err(NameError::Unusable("a\\u{ff0f}b".into()))),
            ("\u{ad}", Err(NameError::Empty)),
        ];
        for (text, expected) in rows {
            assert_eq!(DomainName::parse(text).map(String::from), expected.map(str::to_owned), "{text}");
        }
        assert!(matches!(DomainName::parse(&"a".repeat(254)), Err(NameError::TooLong(_))));
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let rows = [
            ("*.x.org", "a.x.org", true),
            ("*.x.org", "A.X.org", true),
            ("*.x.org", "x.org", false),
            ("*.x.org", "a.b.x.org", false),
            ("*.x.org", ".x.org", false),
            ("*.x.org", "*.x.org", true),
            ("x.org", "X.ORG", true),
            ("x.org", "*.org", false),
            ("*.0.2.1", "192.0.2.1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("2001:db8::1", "2001:DB8::1", true),
        ];
        for (name, other, expected) in rows {
            assert_eq!(DomainName::parse(name).unwrap().covers(other), expected, "{name} {other}");
        }
    }

    #[test]
    fn names_that_no_public_ca_takes() {
        let form = Some("not letters, digits and hyphens between dots");
        let (reserved, global) = (Some("a reserved name"), Some(NOT_GLOBAL));
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
                prop_assert!(name.covers(name.as_str()) && name.covers(&name.as_str().to_ascii_uppercase()));
            }
        }

        #[test]
        fn a_wildcard_covers_a_label_and_no_more(label in "[a-z0-9-]{1,8}", below in "[a-z]{1,4}", parent in "[a-z]{1,8}\\.[a-z]{2,4}") {
            let wildcard = DomainName::parse(&format!("*.{parent}")).unwrap();
            let below_it = format!("{label}.{parent}");
            prop_assert!(wildcard.covers(&below_it));
            let others = [parent.clone(), format!("{below}.{label}.{parent}"), format!("{label}.{below}.{parent}"), format!("{label}{parent}")];
            for other in others.iter().filter(|other| other.split_once('.').is_none_or(|(_, rest)| rest != parent)) {
                prop_assert!(!wildcard.covers(other), "{}", other);
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
