//! Challenges: the types there are, which one is taken, and the data that answers it.

mod http_01;

use std::fmt;

use super::Challenge;

pub use http_01::key_authorization;

/// A type of challenge that can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChallengeType {
    /// A file below `/.well-known/acme-challenge/` (RFC 8555 section 8.3).
    Http01,
}

/// A challenge that was set up for a name; what order.json remembers of it, as `http-01:<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUp {
    /// Its type.
    pub kind: ChallengeType,
    /// The name it is for.
    pub name: String,
}

impl ChallengeType {
    /// All types, in the order in which they are preferred.
    pub const ALL: [Self; 1] = [Self::Http01];

    /// The type of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether it can show control over all names below one. What answers for one host does not: no CA offers it then.
    #[must_use]
    pub fn proves_wildcards(self) -> bool {
        match self {
            Self::Http01 => false,
        }
    }

    /// The name in the protocol.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
        }
    }
}

impl fmt::Display for ChallengeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl SetUp {
    /// Reads what `Display` writes; `None` for a type that cannot be torn down here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        Some(Self { kind: ChallengeType::parse(kind)?, name: name.to_owned() })
    }
}

impl fmt::Display for SetUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// The first wanted type that the CA offers.
#[must_use]
pub fn choose<'a>(wanted: &[ChallengeType], offered: &'a [Challenge]) -> Option<(ChallengeType, &'a Challenge)> {
    wanted.iter().find_map(|kind| {
        let challenge = offered.iter().find(|challenge| challenge.kind == kind.as_str())?;
        Some((*kind, challenge))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wanted_type_that_is_offered_is_taken() {
        let offer = |kinds: &[&str]| -> Vec<Challenge> {
            kinds.iter().map(|kind| Challenge { kind: (*kind).to_owned(), ..Challenge::default() }).collect()
        };
        let all = ChallengeType::ALL;
        assert_eq!(choose(&all, &offer(&["dns-01", "http-01"])).map(|(kind, _)| kind), Some(ChallengeType::Http01));
        assert_eq!(choose(&all, &offer(&["foo-99"])), None);
        assert_eq!(choose(&[], &offer(&["http-01"])), None);
    }

    #[test]
    fn a_set_up_is_remembered_as_type_and_name() {
        let set_up = SetUp { kind: ChallengeType::Http01, name: "x.org".to_owned() };
        assert_eq!(set_up.to_string(), "http-01:x.org");
        assert_eq!(SetUp::parse("http-01:x.org"), Some(set_up));
        assert_eq!(SetUp::parse("foo-99:x.org"), None);
    }
}
