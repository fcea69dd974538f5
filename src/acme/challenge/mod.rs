//! Challenges: their types, the choice among them, and the data that answers them.

mod data;
mod persist;

use std::fmt;

use super::Challenge;

pub use data::{check_token, is_txt_value, key_authorization, txt_value};
pub use persist::{Malformed, PersistRecord, account_uri, hashed_uri, issuer_names, names_to_prove};

/// The path below which CAs ask for the data of http-01 (RFC 8555 section 8.3).
pub const HTTP_01_PATH: &str = "/.well-known/acme-challenge/";

/// A type of challenge that can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChallengeType {
    /// A certificate in a TLS handshake for the protocol `acme-tls/1` (RFC 8737).
    TlsAlpn01,
    /// A file below `/.well-known/acme-challenge/` (RFC 8555 section 8.3).
    Http01,
    /// A TXT record at `_acme-challenge.` (RFC 8555 section 8.4).
    Dns01,
    /// A TXT record at `_validation-persist.` that the administrator made once (draft-ietf-acme-dns-persist).
    DnsPersist01,
}

/// A challenge that was set up for a name; what order.json remembers of it, as `http-01:<name>` or `dns-01:<name> <value>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChallengeSetup {
    /// The challenge type.
    pub kind: ChallengeType,
    /// The name that is proven.
    pub name: String,
    /// The value of the TXT record, for dns-01.
    pub txt: Option<String>,
}

/// The properties of a challenge type that decide how it is used.
#[allow(clippy::struct_excessive_bools, reason = "a row of a table")]
struct Properties {
    /// The name in the protocol.
    name: &'static str,
    /// Can show control over all names below one. CAs do not offer the types that answer for one host.
    proves_wildcards: bool,
    /// Can show control over an address. The DNS has no say there (RFC 8738 section 7).
    proves_addresses: bool,
    /// The challenge object has a token.
    has_token: bool,
    /// The answer is a TXT record made for one order. A name and its wildcard share the name of the record.
    answers_by_txt: bool,
    /// A command of the administrator sets it up and takes it away.
    needs_command: bool,
    /// The answer is a TXT record that the administrator made once, for all orders.
    needs_standing_record: bool,
}

impl ChallengeType {
    /// All types, in the order in which they are preferred. A type that is not listed here cannot be configured.
    pub const ALL: [Self; 4] = [Self::TlsAlpn01, Self::Http01, Self::Dns01, Self::DnsPersist01];
    /// The types that are used without being configured. The others need a step by the administrator first.
    pub const USUAL: [Self; 3] = [Self::TlsAlpn01, Self::Http01, Self::Dns01];

    const fn properties(self) -> Properties {
        match self {
            Self::TlsAlpn01 => Properties {
                name: "tls-alpn-01",
                proves_wildcards: false,
                proves_addresses: true,
                has_token: true,
                answers_by_txt: false,
                needs_command: false,
                needs_standing_record: false,
            },
            Self::Http01 => Properties { name: "http-01", ..Self::TlsAlpn01.properties() },
            Self::Dns01 => Properties {
                name: "dns-01",
                proves_wildcards: true,
                proves_addresses: false,
                has_token: true,
                answers_by_txt: true,
                needs_command: true,
                needs_standing_record: false,
            },
            Self::DnsPersist01 => Properties {
                name: "dns-persist-01",
                proves_wildcards: true,
                proves_addresses: false,
                has_token: false,
                answers_by_txt: false,
                needs_command: false,
                needs_standing_record: true,
            },
        }
    }

    /// Returns the type of exactly that name, as CAs spell it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Returns the type of that name, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether the type can show control over all names below one.
    #[must_use]
    pub fn proves_wildcards(self) -> bool {
        self.properties().proves_wildcards
    }

    /// Whether the type can show control over an address.
    #[must_use]
    pub fn proves_addresses(self) -> bool {
        self.properties().proves_addresses
    }

    /// Whether the answer is a TXT record made for one order, whose name a name and its wildcard share.
    #[must_use]
    pub fn answers_by_txt(self) -> bool {
        self.properties().answers_by_txt
    }

    /// Whether a command of the administrator sets the challenge up. Its work is undone when the run ends.
    #[must_use]
    pub fn needs_command(self) -> bool {
        self.properties().needs_command
    }

    /// Whether the answer is a TXT record that the administrator made once, for all orders.
    #[must_use]
    pub fn needs_standing_record(self) -> bool {
        self.properties().needs_standing_record
    }

    /// The name in the protocol.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.properties().name
    }
}

impl fmt::Display for ChallengeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ChallengeSetup {
    /// Reads what `Display` writes; `None` for a type that cannot be torn down here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let kind = ChallengeType::parse(kind)?;
        let (name, txt) = match rest.split_once(' ') {
            Some((name, txt)) if kind.answers_by_txt() => (name, Some(txt.to_owned())),
            _ => (rest, None),
        };
        Some(Self { kind, name: name.to_owned(), txt })
    }

    /// Whether this stored form is of a set-up by a command.
    #[must_use]
    pub fn is_of_command(token: &str) -> bool {
        Self::parse(token).is_some_and(|set_up| set_up.kind.needs_command())
    }
}

impl fmt::Display for ChallengeSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)?;
        self.txt.as_ref().map_or(Ok(()), |txt| write!(f, " {txt}"))
    }
}

/// Chooses the first wanted type that the CA offers. A challenge without the token that its type has does not count,
/// whatever its name.
#[must_use]
pub fn choose(
    wanted: impl IntoIterator<Item = ChallengeType>,
    offered: &[Challenge],
) -> Option<(ChallengeType, &Challenge)> {
    wanted.into_iter().find_map(|kind| {
        let has_token = |challenge: &Challenge| !kind.properties().has_token || !challenge.token.is_empty();
        let fits = |challenge: &&Challenge| challenge.kind == kind.as_str() && has_token(challenge);
        Some((kind, offered.iter().find(fits)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wanted_type_that_is_offered_is_taken() {
        let offer = |kinds: &[&str]| -> Vec<Challenge> {
            let challenge =
                |kind: &&str| Challenge { kind: (*kind).to_owned(), token: "t".to_owned(), ..Challenge::default() };
            kinds.iter().map(challenge).collect()
        };
        let taken = |wanted: &[ChallengeType], offered: &[Challenge]| {
            choose(wanted.iter().copied(), offered).map(|(kind, _)| kind.as_str())
        };
        let all = ChallengeType::ALL;
        let without_token = [Challenge { kind: "dns-01".to_owned(), ..Challenge::default() }];
        let persist = [Challenge { kind: "dns-persist-01".to_owned(), ..Challenge::default() }];
        let rows: [(&[ChallengeType], Vec<Challenge>, Option<&str>); 9] = [
            (&all, offer(&["dns-01", "http-01"]), Some("http-01")),
            (&all, offer(&["dns-01", "http-01", "tls-alpn-01"]), Some("tls-alpn-01")),
            (&[ChallengeType::Dns01, ChallengeType::Http01], offer(&["http-01", "dns-01"]), Some("dns-01")),
            (&all, offer(&["foo-99"]), None),
            (&[], offer(&["http-01"]), None),
            (&all, without_token.to_vec(), None),
            (&all, persist.to_vec(), Some("dns-persist-01")),
            (&ChallengeType::USUAL, persist.to_vec(), None),
            (
                &[ChallengeType::DnsPersist01, ChallengeType::Dns01],
                offer(&["dns-01", "dns-persist-01"]),
                Some("dns-persist-01"),
            ),
        ];
        for (wanted, offered, expected) in rows {
            assert_eq!(taken(wanted, &offered), expected, "{wanted:?} {offered:?}");
        }
    }

    #[test]
    fn a_set_up_is_remembered_as_type_and_name_with_the_value_of_a_record() {
        let set_up =
            |kind, txt: Option<&str>| ChallengeSetup { kind, name: "x.org".to_owned(), txt: txt.map(str::to_owned) };
        let rows = [
            ("http-01:x.org", set_up(ChallengeType::Http01, None)),
            (
                "http-01:2001:db8::1",
                ChallengeSetup { name: "2001:db8::1".to_owned(), ..set_up(ChallengeType::Http01, None) },
            ),
            ("tls-alpn-01:x.org", set_up(ChallengeType::TlsAlpn01, None)),
            ("dns-01:x.org LoqXcYV8", set_up(ChallengeType::Dns01, Some("LoqXcYV8"))),
            ("dns-01:x.org", set_up(ChallengeType::Dns01, None)),
        ];
        for (token, set_up) in rows {
            assert_eq!(ChallengeSetup::parse(token).as_ref(), Some(&set_up));
            assert_eq!(set_up.to_string(), token);
            assert_eq!(ChallengeSetup::is_of_command(token), token.starts_with("dns"));
        }
        assert_eq!(ChallengeSetup::parse("foo-99:x.org"), None);
    }
}
